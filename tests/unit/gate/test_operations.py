"""The gate as an operation: what is asked when, what is shown and noted when an engine does not pass."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from pyinfra.api import FunctionCommand, OperationError
from pyinfra.context import ctx_host, ctx_state
from pyinfra_testing.util import FakeState, create_host

from barewind.gate import plan as gates
from barewind.gate.evaluation import Evaluation
from barewind.gate.facts import GateObservation
from barewind.gate.operations import evaluation as evaluating
from barewind.gate.operations import gate
from barewind.gate.operations.gate import check, passed
from barewind.hosts.shell import Answer
from tests.support.any_arguments import AnyArguments
from tests.support.clock import Clock, keep_time
from tests.support.factories import plan
from tests.support.fake_fleet import gate as look

GATE = gates.of(plan())
PASSING = GateObservation().process(look())
ONCE = Evaluation(None, 60, accuracy_floor=None, throughput_ratio=0.5)
COMMAND = Evaluation(("./check",), 60, None, None)
STARTED = [json.dumps({"at": "t", "release": GATE.release, "event": "started", "by": "ann@ws1"})]
SERVED = [*STARTED, json.dumps({"at": "t", "release": GATE.release, "event": "serving", "by": "ann@ws1"})]


def yielded(observation: Any, evaluation: Evaluation | None = None, *, rollback: bool = False) -> list[Any]:
    state = FakeState()
    host = create_host(state, facts={"facts.GateObservation": {}})
    host.name = "gpu-h1"
    host.fact.facts["facts.GateObservation"].data = AnyArguments(observation)
    with ctx_state.use(state), ctx_host.use(host):
        return list(passed._inner(gate=GATE, evaluation=evaluation, rollback=rollback))


@pytest.mark.parametrize("rollback", [True, False])
def test_the_failure_of_a_rollback_is_noted_as_one(monkeypatch: pytest.MonkeyPatch, rollback: bool) -> None:
    (command,) = yielded(replace(PASSING, healthy=False), rollback=rollback)
    assert isinstance(command, FunctionCommand)
    failing = Host(look(state="failed"))
    monkeypatch.setattr(gate, "run", failing.answer)
    assert not command.function(None, failing, **command.kwargs)
    (note,) = failing.ran
    assert '"event": "failed"' in note
    assert ('"rollback": true' in note) is rollback


def with_events(lines: list[str], *, log: tuple[str, ...] = ()) -> list[str]:
    output = look(*log)
    at = output.index("@@barewind:unit")
    return [*output[:at], "@@barewind:events", *lines, *output[at:]]


@pytest.mark.parametrize("events", [[], SERVED], ids=["no history", "it has served"])
def test_nothing_is_done_where_the_engine_passes_already(events: list[str]) -> None:
    assert yielded(PASSING) == []
    assert yielded(GateObservation().process(with_events(events)), ONCE) == []


@pytest.mark.parametrize(
    ("observation", "evaluation"),
    [
        (replace(PASSING, healthy=False), None),
        (replace(PASSING, metrics=()), None),
        (GateObservation().process(with_events(STARTED)), ONCE),
    ],
    ids=["not up", "up, but not right", "new"],
)
def test_any_other_engine_is_waited_for(observation: Any, evaluation: Evaluation | None) -> None:
    (command,) = yielded(observation, evaluation)
    assert isinstance(command, FunctionCommand)


def test_what_cannot_be_read_is_not_taken_for_an_engine_that_answers() -> None:
    with pytest.raises(OperationError, match=r"^gpu-h1: the state of http.* could not be read"):
        yielded(None)


class Host:
    """A host that answers observations in turn, and remembers what else it is told to run."""

    name, print_prefix = "gpu-h1", ""

    def __init__(self, *outputs: list[str] | Answer, measured: Answer | None = None) -> None:
        self.outputs, self.measured = list(outputs), measured or Answer("", "")
        self.ran: list[str] = []
        self.messages: list[str] = []

    def log(self, message: str) -> None:
        self.messages.append(message)

    def answer(self, state: Any, host: Any, command: str, *, timeout: int = 60) -> Answer:
        del state, timeout
        assert host is self
        if "echo @@barewind:health" in command:
            output = self.outputs.pop(0) if len(self.outputs) > 1 else self.outputs[0]
            return output if isinstance(output, Answer) else Answer("\n".join(output), "")
        if "echo @@barewind:round_0" in command:
            return self.measured
        self.ran.append(command)
        return Answer("", "")


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Callable[..., str]:
    """Run the gate against a host; time does not pass but for what sleeps say."""
    clock = Clock()
    keep_time(monkeypatch, clock, clock.pause)

    def run(host: Host, evaluation: Evaluation | None = None) -> str:
        monkeypatch.setattr(gate, "run", host.answer)
        monkeypatch.setattr(evaluating, "run", host.answer)
        return check(None, host, GATE, evaluation, why="nightly")  # type: ignore[arg-type]

    return run


def test_it_waits_over_lost_connections_and_says_how_far_the_engine_is(checked: Callable[..., str]) -> None:
    loading = look("Loading shards 3 of 27", state="activating")
    host = Host(*[loading] * 40, Answer("", "the connection is stuck"), look())
    assert checked(host) == ""
    assert host.ran == []
    assert host.messages[0] == "/health does not answer yet (62 s): Loading shards 3 of 27"


def test_a_failure_is_shown_with_its_reason_and_noted(
    checked: Callable[..., str], caplog: pytest.LogCaptureFixture
) -> None:
    lines = ["Starting Inference engine: m (release 000000000000)", "no space left on device"]
    lines += [f"Starting Inference engine: m (release {GATE.release})", "torch.OutOfMemoryError: CUDA out of memory."]
    host = Host(look(*lines, state="failed"))

    detail = checked(host)

    why = "out of memory: the accelerators' memory does not suffice"
    assert detail.startswith(why)
    assert detail.endswith("; its unit failed")
    messages = "\n".join(record.message for record in caplog.records)
    assert f"gpu-h1: release {GATE.release} does not pass its gate: its unit failed" in messages
    assert f"gpu-h1: reason: {why}; " in messages
    assert "    torch.OutOfMemoryError: CUDA out of memory." in messages
    assert "no space left" not in messages
    assert "journalctl -u barewind-engine.service" in messages
    (note,) = host.ran
    assert '"event": "failed"' in note
    assert GATE.release in note
    assert '"why": "nightly"' in note


def test_without_a_known_reason_the_first_workers_last_error_is_shown_and_noted(
    checked: Callable[..., str], caplog: pytest.LogCaptureFixture
) -> None:
    lines = [
        f"Starting Inference engine: m (release {GATE.release})",
        "(Worker_TP1 pid=9) ERROR 01-08 11:19:33 [multiproc_executor.py:1018] KeyError: 'layers.87.scale'",
        "(EngineCore_DP0 pid=8) ERROR 01-08 11:19:35 [core.py:866] ConnectionResetError: [Errno 104] peer",
        "(APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}",
        "barewind-engine.service: Failed with result 'exit-code'.",
    ]
    detail = checked(Host(look(*lines, state="failed")))
    assert detail == "the last error in its log: KeyError: 'layers.87.scale'; its unit failed"
    messages = "\n".join(record.message for record in caplog.records)
    assert "gpu-h1: the last error of the process that failed first: KeyError: 'layers.87.scale'" in messages
    assert "reason:" not in messages


def test_what_an_engine_that_is_up_logs_is_no_reason_for_a_wrong_answer(checked: Callable[..., str]) -> None:
    wrong = [line.replace("vllm:num", "other:num") for line in look("harmless: Permission denied")]
    host = Host(wrong)
    assert checked(host) == (
        "it is up, but it does not answer as it must; /metrics shows no figure that begins with vllm:"
    )


def test_a_host_that_is_gone_ends_the_wait(checked: Callable[..., str]) -> None:
    host = Host(Answer("", "timed out"))
    assert checked(host) == "the host is out of reach"


# --- Evaluation ---

RATE = ["@@barewind:warm_up", "@@barewind:round_0", *['"completion_tokens": 128'] * 8, "1024000000", "@@barewind:end"]
BEFORE = [
    json.dumps({"at": "t", "release": "old000000000", "event": "serving", "by": "a"}),
    json.dumps(
        {
            "at": "t", "release": "old000000000", "event": "measured", "by": "a",
            "figures": {"tokens_per_second": 4000, "streams": 8, "tokens": 128},
        }
    ),
]  # fmt: skip


def test_a_new_release_is_measured_and_its_figures_are_noted(checked: Callable[..., str]) -> None:
    host = Host(with_events(STARTED), measured=Answer("\n".join(RATE), ""))
    assert checked(host, ONCE) == ""
    (note,) = host.ran
    assert '"event": "measured"' in note
    assert '"tokens_per_second": 1000.0' in note
    assert "1000 tokens/s (nothing to compare it with yet)" in host.messages


def test_a_release_that_is_too_slow_fails_and_says_against_what(checked: Callable[..., str]) -> None:
    host = Host(with_events([*BEFORE, *STARTED]), measured=Answer("\n".join(RATE), ""))
    detail = checked(host, ONCE)
    assert detail.startswith("1000 tokens/s under the fixed load, release old000000000 had 4000")
    assert ['"measured"' in command for command in host.ran] == [True, False]
    assert '"event": "failed"' in host.ran[1]


def test_a_release_that_has_served_here_is_not_evaluated_again(checked: Callable[..., str]) -> None:
    host = Host(with_events(SERVED))
    assert checked(host, ONCE) == ""
    assert host.ran == []


@pytest.mark.parametrize(
    ("status", "output", "problem"),
    [
        (0, "all well\n", ""),
        (1, "3 of 9 right\n", "the evaluation ended with status 1: 3 of 9 right"),
        (None, "", "the evaluation took longer than evaluation_timeout (60 s)"),
    ],
)
def test_the_users_command_decides_too(
    checked: Callable[..., str], monkeypatch: pytest.MonkeyPatch, status: int | None, output: str, problem: str
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(evaluating, "tunnel", _tunnel)
    monkeypatch.setattr(evaluating, "run_command", lambda *given: asked.append(given) or (status, output))
    assert checked(Host(with_events(STARTED)), COMMAND) == problem
    ((command, environment, timeout),) = asked
    assert (command, timeout, environment["BAREWIND_URL"]) == (("./check",), 60, "http://127.0.0.1:1")


def test_a_command_that_is_not_there_names_the_key(
    checked: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluating, "tunnel", _tunnel)
    missing = replace(COMMAND, command=("/nowhere/check",))
    assert checked(Host(with_events(STARTED)), missing) == (
        "key 'evaluation': /nowhere/check cannot be run (No such file or directory); correct the key"
    )


@contextmanager
def _tunnel(*_: object) -> Iterator[str]:
    yield "http://127.0.0.1:1"
