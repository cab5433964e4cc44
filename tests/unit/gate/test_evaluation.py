"""What a release that is new on a host is asked beside its gate: questions, a small load, a command of the user's."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests

from barewind.errors import BarewindError
from barewind.gate import evaluation
from barewind.gate import plan as gates
from barewind.gate.evaluation import STREAMS, TOKENS, Evaluation, Question
from barewind.gate.operations.evaluation import run_command
from barewind.hosts.tunnel import tunnel
from barewind.release.history import Event
from lab import wait
from tests.support.factories import engine_spec, lab_spec, plan
from tests.support.fake_fleet import sections
from tests.support.shell import Shell
from tests.support.standin import Engine, engine

pytestmark = pytest.mark.slow

GATE = gates.of(plan())
NEW, OLD = GATE.release, "0123456789ab"
LOAD = {"streams": STREAMS, "tokens": TOKENS}
BOTH = Evaluation(None, 60, accuracy_floor=0.9, throughput_ratio=0.8)


def event(release: str, kind: str, **figures: float) -> Event:
    return Event("2026-05-01T00:00:00Z", release, kind, "ann@ws1", figures=figures or None)


SERVED = [event(OLD, "started"), event(OLD, "serving")]
MEASURED = [*SERVED, event(OLD, "measured", tokens_per_second=100, **LOAD), event(NEW, "started")]


def test_nothing_is_asked_unless_a_key_says_so() -> None:
    assert evaluation.of(plan()) is None
    command = evaluation.of(plan(engine_spec(evaluation=["./check", "--fast"], evaluation_timeout=60)))
    assert command == Evaluation(("./check", "--fast"), 60, None, None)
    assert (command.measures, command.limit) == (False, 60)
    figures = evaluation.of(plan(engine_spec(accuracy_floor=0.9)))
    assert figures is not None
    assert (figures.measures, figures.limit) == (True, evaluation.MEASURE)


@pytest.mark.parametrize(
    ("events", "due"),
    [
        ([], False),  # nothing is known of the host: what it serves it served before there was a history
        (SERVED, False),
        ([*SERVED, event(NEW, "started")], True),
        ([*SERVED, event(NEW, "started"), event(NEW, "failed"), event(NEW, "started")], True),
        ([event(NEW, "started"), event(NEW, "serving"), *SERVED, event(NEW, "started")], False),  # back to it
        ([event(NEW, "restored")], False),
    ],
)
def test_a_release_is_new_until_it_has_served(events: list[Event], due: bool) -> None:
    assert evaluation.due(events, NEW) is due


def test_every_question_is_short_and_its_answer_is_taken_for_right() -> None:
    assert len(evaluation.questions()) >= 20
    for question in evaluation.questions():
        assert question.answer
        assert len(question.question) < 120
        for answer in question.answer:
            assert evaluation._right(question, completion(f"It is **{answer.upper()}**."))


def completion(text: str | None) -> str:
    return json.dumps({"choices": [{"message": {"content": text}}]})


@pytest.mark.parametrize(
    ("answer", "text", "right"),
    [
        ("42", "42", True),
        ("42", "The answer is 42.", True),
        ("42", "142", False),
        ("42", "42.5", False),
        ("42", "4,42", False),
        ("9.9", "9.9.", True),
        ("9.9", "9.11", False),
        ("Au", "AU", True),
        ("Au", "Australia", False),
        ("yes", None, False),
    ],
)
def test_an_answer_must_stand_as_a_word(answer: str, text: str | None, right: bool) -> None:
    assert evaluation._right(Question("?", (answer,)), completion(text)) is right


def test_an_answer_that_is_none_is_wrong() -> None:
    assert not evaluation._right(Question("?", ("x",)), "curl: (28) timed out")


@pytest.mark.parametrize(
    ("figures", "events", "problem"),
    [
        ({"accuracy": 0.9, "tokens_per_second": 80, **LOAD}, MEASURED, ""),
        ({"accuracy": 1, "tokens_per_second": 1, **LOAD}, SERVED, ""),  # no figure of what served before
        ({"accuracy": 1, "tokens_per_second": 1, "streams": 4, "tokens": TOKENS}, MEASURED, ""),  # another load
        ({"accuracy": 1, "tokens_per_second": 1, **LOAD}, [], ""),
        (
            {"accuracy": 0.875, "tokens_per_second": 100, **LOAD},
            MEASURED,
            "answers 88% of the questions right, accuracy_floor is 90% (see docs/gates.md)",
        ),
        (
            {"accuracy": 1, "tokens_per_second": 79, **LOAD},
            MEASURED,
            f"79 tokens/s under the fixed load, release {OLD} had 100: less than throughput_ratio 0.8 of it",
        ),
        (
            {"accuracy": 1, "tokens_per_second": 0, **LOAD},
            SERVED,
            "a request of the fixed load was not answered, there is no throughput to compare",
        ),
    ],
)
def test_floor_and_ratio(figures: dict[str, float], events: list[Event], problem: str) -> None:
    assert evaluation.problems(BOTH, figures, events, NEW) == ([problem] if problem else [])


def test_what_served_before_is_what_served_last_not_what_failed_last() -> None:
    events = [*MEASURED[:3], event("failing00000", "measured", tokens_per_second=900, **LOAD)]
    events += [event("failing00000", "failed"), event(NEW, "started")]
    assert evaluation.rate_before(events, NEW, LOAD) == (OLD, 100)
    assert (
        evaluation.describe({"tokens_per_second": 95.4, **LOAD}, (OLD, 100)) == f"95 tokens/s (release {OLD} had 100)"
    )
    assert evaluation.describe({"accuracy": 0.5}, None).startswith("50% of ")


def test_a_round_that_lost_a_request_does_not_count() -> None:
    whole = [f'"completion_tokens": {TOKENS}'] * STREAMS + ["2000000000"]
    assert evaluation.read(sections(warm_up=[], round_0=whole[1:], round_1=whole)) == {
        "tokens_per_second": STREAMS * TOKENS / 2,
        **LOAD,
    }
    assert evaluation.read(sections(round_0=whole[1:], round_1=[]))["tokens_per_second"] == 0


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("model")
    (folder / "params.json").write_text('{"max_position_embeddings": 32768}')
    with engine(folder, STANDIN_TOKENS_PER_SECOND="2000") as server:
        yield server


def test_the_load_is_put_on_a_running_engine_and_counted(running: Engine, shell: Shell) -> None:
    gate = gates.of_command(
        host="e", engine="vllm", url=f"http://{running.address}", model=plan(lab_spec()).served_model_name, weights="x",
        release=NEW, argv=["vllm"], unit="u", timeout=1,
    )  # fmt: skip
    done = shell(evaluation.measuring(gate, BOTH))
    figures = evaluation.read(done.stdout.splitlines())
    assert figures["accuracy"] < 0.3  # the stand-in understands nothing
    assert 100 < figures["tokens_per_second"] <= STREAMS * 2000
    assert "nothing to compare it with yet" in evaluation.describe(figures, None)


# --- The user's command ---


def test_the_command_is_told_whom_to_ask() -> None:
    own = {"PATH": os.environ["PATH"], "HOME": "/home/ann", "LANG": "C.UTF-8", "JUDGE": "x", "HF_TOKEN": "secret"}
    variables = evaluation.environment(GATE, "http://127.0.0.1:1", ("JUDGE",), own)
    assert variables == {
        **{name: own[name] for name in ("PATH", "HOME", "LANG", "JUDGE")},
        "BAREWIND_URL": "http://127.0.0.1:1",
        "BAREWIND_MODEL": GATE.model,
        "BAREWIND_HOST": "gpu-h1",
        "BAREWIND_RELEASE": GATE.release,
    }
    code = "import os; print(os.environ['BAREWIND_HOST']); print(os.environ['PATH'])"
    status, output = run_command([sys.executable, "-c", code], variables, 20)
    assert (status, output.splitlines()) == (0, ["gpu-h1", os.environ["PATH"]])


def test_the_command_sees_nothing_else_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    variables = evaluation.environment(GATE, "http://127.0.0.1:1", (), os.environ)
    _, output = run_command(["env"], variables, 20)
    names = {line.partition("=")[0] for line in output.splitlines()}
    assert names - {"PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR"} == {
        f"BAREWIND_{name}" for name in ("URL", "MODEL", "HOST", "RELEASE")
    }


def test_a_variable_that_is_not_there_cannot_be_passed_on() -> None:
    with pytest.raises(BarewindError, match="key 'evaluation_env': JUDGE is not set here; set it, or correct the key"):
        evaluation.environment(GATE, "http://127.0.0.1:1", ("JUDGE",), {})


def test_its_status_and_both_outputs_are_kept() -> None:
    assert run_command(["/bin/sh", "-c", "echo a; echo b >&2; exit 3"], {}, 20) == (3, "a\nb\n")


def test_a_command_that_takes_too_long_ends_with_all_that_it_started(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    status, _ = run_command(["sh", "-c", f"sleep 600 & echo $! > {pid}; wait"], {}, 3)
    assert status is None
    state = Path(f"/proc/{pid.read_text().strip()}/stat")

    def ended() -> bool:
        try:
            return state.read_text().split()[2] == "Z"
        except OSError:
            return True

    wait.until(ended, 60, "it goes on")  # a signal takes a moment to end a process


def test_a_command_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        run_command([str(tmp_path / "nowhere")], {}, 20)


class Channel:
    """An SSH channel to an address, as far as a tunnel needs it."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._socket = socket.create_connection(address, timeout=20)
        self.recv, self.sendall = self._socket.recv, self._socket.sendall
        self.shutdown, self.close = self._socket.shutdown, self._socket.close


class Transport:
    def __init__(self, problem: Exception | None = None) -> None:
        self.asked: list[Any] = []
        self.problem = problem

    def open_channel(self, kind: str, address: tuple[str, int], peer: Any, timeout: float) -> Channel:
        del peer, timeout
        self.asked.append((kind, address))
        if self.problem is not None:
            raise self.problem
        return Channel(address)


def host_with(transport: Transport) -> Any:
    client = SimpleNamespace(get_transport=lambda: transport)
    return SimpleNamespace(name="gpu-h1", connector=SimpleNamespace(client=client))


def fetch(url: str, path: str, answers: list[str]) -> None:
    try:
        answers.append(requests.get(url + path, timeout=20).text)
    except OSError as error:
        answers.append(f"error {error}")


def test_the_command_reaches_the_engine_through_the_hosts_connection(running: Engine) -> None:
    transport, answers = Transport(), list[str]()
    with tunnel(host_with(transport), f"http://{running.address}") as url:
        assert url.startswith("http://127.0.0.1:")
        for _ in range(2):
            thread = threading.Thread(target=fetch, args=(url, "/v1/models", answers))
            thread.start()
            thread.join(20)
    assert [json.loads(text)["object"] for text in answers] == ["list", "list"]
    name, port = running.address.split(":")
    assert transport.asked == [("direct-tcpip", (name, int(port)))] * 2


def test_a_host_that_forwards_nothing_closes_the_connection() -> None:
    answers: list[str] = []
    with tunnel(host_with(Transport(OSError("administratively prohibited"))), "http://10.0.0.11:8000") as url:
        fetch(url, "/", answers)
    assert answers[0].startswith("error ")


def test_without_ssh_there_is_no_way() -> None:
    local: Any = SimpleNamespace(name="@local", connector=SimpleNamespace())
    with tunnel(local, "http://10.0.0.11:8000") as url:
        assert url == "http://10.0.0.11:8000"
    other: Any = SimpleNamespace(name="@docker/x", connector=SimpleNamespace())
    with (
        pytest.raises(BarewindError, match="@docker/x: key 'evaluation' needs a host that is reached by SSH"),
        tunnel(other, "http://10.0.0.11:8000"),
    ):
        pass
