"""Which probes a plan calls for, and when an engine has passed; the script against a running stand-in engine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from barewind.gate import plan as gates
from barewind.gate.facts import GateObservation
from barewind.gate.plan import BASIC, Gate, Observation, Progress
from barewind.release import history
from barewind.release.record import record_of
from tests.support.factories import LAB_MODEL, MEDIUM, engine_spec, lab_spec, plan
from tests.support.fake_fleet import gate as fake_gate
from tests.support.shell import Programs, Shell
from tests.support.standin import Engine, engine

pytestmark = pytest.mark.slow

UNIT = "barewind-engine.service"
GATE = gates.of(plan())
LAB = gates.of(plan(lab_spec()))
PASSING = GateObservation().process(fake_gate())
SILENT = replace(PASSING, healthy=False, answers={}, models=(0, ""), metrics=())
WRONG = replace(PASSING, answers={**PASSING.answers, "tool": (200, "{}")})
BEFORE = replace(SILENT, restarts=7)


def names(gate: Gate) -> list[str]:
    return [probe.name for probe in gate.probes]


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, ["completion", "tool", "reasoning_on", "reasoning_off"]),
        ({"modality": "image"}, ["completion", "image", "tool", "reasoning_on", "reasoning_off"]),
        ({"engine_args": {"reasoning-parser": False}}, ["completion", "tool"]),
        (
            {"engine_args": {"tool-call-parser": False, "enable-auto-tool-choice": False}},
            ["completion", "reasoning_on", "reasoning_off"],
        ),
        ({"modality": "image", "engine_args": {"limit-mm-per-prompt": {"image": 0}, "reasoning-parser": False}}, None),
        ({"engine": "sglang"}, ["completion", "tool", "reasoning_on", "reasoning_off"]),
        (
            {"engine": "sglang", "modality": "image"},
            ["completion", "image", "tool", "reasoning_on", "reasoning_off"],
        ),
    ],
)
def test_a_plan_is_asked_for_what_it_enables(changes: dict[str, Any], wanted: list[str] | None) -> None:
    assert names(gates.of(plan(engine_spec(**changes)))) == (wanted or ["completion", "tool"])


def test_the_engines_differ_in_paths_and_names() -> None:
    sglang = gates.of(plan(engine_spec(engine="sglang")))
    assert (GATE.health, GATE.metrics) == ("/health", "vllm:")
    assert (sglang.health, sglang.metrics) == ("/ready", "sglang:")
    assert sglang.probes[-1].reasoning_field == "reasoning_content"
    quiet = engine_spec(engine_args={"disable-log-stats": True})
    assert gates.of(plan(quiet)).metrics is None


def test_only_a_model_that_is_known_to_reason_must_be_clever() -> None:
    assert all(probe.strict for probe in GATE.probes if probe.name != "completion")
    assert not any(probe.strict for probe in LAB.probes)


def test_a_record_on_a_host_has_the_gate_of_its_plan() -> None:
    made = plan(engine_spec(modality="image"))
    assert gates.of_record(record_of(made, "[Unit]\n"), plan()) == gates.of(made)
    ipv6 = plan(engine_spec(address="fd00::1"))
    assert gates.of_record(record_of(made, "[Unit]\n"), ipv6).url == gates.of(ipv6).url == "http://[fd00::1]:8000"


# --- Verdicts ---


def judged(*observations: Observation | None, waited: float = 10, gate: Gate = GATE) -> gates.Verdict:
    progress = Progress()
    for observation in observations:
        verdict = gates.judge(gate, observation, progress, waited=waited)
    return verdict


def test_it_passes_when_everything_is_right() -> None:
    assert gates.findings(GATE, PASSING) == []
    assert judged(PASSING).outcome == "passed"
    assert judged(SILENT, WRONG, WRONG, None, PASSING).outcome == "passed"


@pytest.mark.parametrize(
    ("observations", "waited", "message"),
    [
        ([SILENT], 10, "/health does not answer yet"),
        ([WRONG, WRONG], 10, "it is up, but does not yet answer as it must"),
        ([WRONG, SILENT, WRONG, WRONG], 10, "it is up, but does not yet answer as it must"),
        ([BEFORE, replace(SILENT, restarts=8)], 10, "/health does not answer yet"),
        ([None, None], 119, "the host does not answer"),
    ],
)
def test_it_waits(observations: list[Observation | None], waited: float, message: str) -> None:
    verdict = judged(*observations, waited=waited)
    assert (verdict.outcome, verdict.message) == ("waiting", message)


@pytest.mark.parametrize(
    ("observations", "waited", "message"),
    [
        ([replace(SILENT, state="failed")], 10, "its unit failed"),
        ([BEFORE, replace(SILENT, restarts=9)], 10, "its unit was restarted 2 times"),
        ([BEFORE, replace(SILENT, restarts=0), replace(SILENT, restarts=2)], 10, "its unit was restarted 2 times"),
        ([WRONG, WRONG, WRONG], 10, "it is up, but it does not answer as it must"),
        ([SILENT], 1800, "the time limit of 1800 s is over"),
        ([WRONG], 1800, "the time limit of 1800 s is over"),
        ([None], 120, "the host is out of reach"),
    ],
)
def test_it_gives_up(observations: list[Observation | None], waited: float, message: str) -> None:
    verdict = judged(*observations, waited=waited)
    assert (verdict.outcome, verdict.message) == ("failed", message)


@pytest.mark.parametrize(
    ("changes", "finding"),
    [
        ({"state": "activating"}, "barewind-engine.service is activating, not active"),
        ({"state": ""}, "barewind-engine.service is not there, not active"),
        ({"release": "other"}, f"the container runs release other, not {GATE.release}"),
        ({"models": (200, '{"data": [{"id": "x"}]}')}, f"/v1/models names x, not {MEDIUM}"),
        ({"models": (200, '{"data": []}')}, f"/v1/models names no model, not {MEDIUM}"),
        ({"models": (200, "<html>")}, "/v1/models: the answer is no list of models (<html>)"),
        ({"models": (503, "")}, "/v1/models: HTTP 503"),
        ({"models": (0, "curl: (7)")}, "/v1/models: no answer"),
        ({"metrics": ()}, "/metrics shows no figure that begins with vllm:"),
        (
            {"answers": {**PASSING.answers, "tool": (200, "{}")}},
            "the call of a tool: the answer is no chat completion ({})",
        ),
        ({"answers": {"completion": (0, "curl: (28) timed out")}}, "a completion: no answer (curl: (28) timed out)"),
        ({"answers": {}}, "a completion: no answer (the connection was closed)"),
    ],
)
def test_each_thing_that_is_wrong_is_named_once(changes: dict[str, Any], finding: str) -> None:
    assert gates.findings(GATE, replace(PASSING, **changes)) == [finding]


# --- The script ---


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    (folder / "params.json").write_text('{"max_position_embeddings": 32768}')
    return folder


def arguments(**changes: Any) -> list[str]:
    """What the plan of a lab host starts vLLM with, but for where it listens."""
    argv = plan(lab_spec(speculative=False, **changes)).command.without("--host", "--port")
    return argv[1:]


@pytest.fixture(scope="module")
def running(model: Path) -> Iterator[Engine]:
    with engine(model, *arguments(modality="image"), STANDIN_TOKENS_PER_SECOND="2000") as server:
        yield server


@pytest.fixture
def on_host(programs: Programs) -> None:
    programs(
        systemctl='case "$*" in *-P*) echo active;; *) echo ActiveState=active; echo NRestarts=3; echo Result=success;; esac',
        docker="exit 1",
        journalctl="echo 'a line of the log'; echo 'the last one'",
    )


def gate_of(address: str, **changes: Any) -> Gate:
    made = gates.of(plan(lab_spec(speculative=False, **changes)))
    return replace(made, url=f"http://{address}")


def strictly(gate: Gate) -> Gate:
    """As Medium 3.5 would be asked."""
    probes = gates.of(plan(engine_spec(modality="image"))).probes
    strict = [
        replace(probe, body=probe.body.replace(MEDIUM, LAB_MODEL), reasoning_field="reasoning") for probe in probes
    ]
    return replace(gate, probes=tuple(strict))


@pytest.mark.usefixtures("on_host")
@pytest.mark.parametrize("strict", [False, True])
def test_an_engine_that_serves_passes_every_probe(running: Engine, shell: Shell, strict: bool) -> None:
    gate = gate_of(running.address, modality="image")
    gate = strictly(gate) if strict else gate
    fact = GateObservation()

    observation = fact.process(shell(fact.command(gate, log=True)).stdout.splitlines())

    assert names(gate) == ["completion", "image", "tool", "reasoning_on", "reasoning_off"]
    assert gates.findings(gate, observation) == []
    assert (observation.healthy, observation.state, observation.restarts, observation.release) == (
        True,
        "active",
        3,
        None,
    )
    assert observation.log == ("a line of the log", "the last one")


@pytest.mark.usefixtures("on_host")
@pytest.mark.parametrize(
    ("events", "asked"),
    [
        (["started", "serving"], {BASIC}),
        (["started", "serving", "measured"], {BASIC}),
        (["restored"], {BASIC}),
        (["serving", "started"], set()),
        (["serving", "failed"], set()),
        ([], set()),
    ],
)
def test_an_engine_that_has_passed_with_no_other_release_started_since_is_asked_for_a_completion_only(
    running: Engine, shell: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, events: list[str], asked: set[str]
) -> None:
    gate = gate_of(running.address)
    file = tmp_path / "history.jsonl"
    monkeypatch.setattr(history, "EVENTS_FILE", str(file))
    monkeypatch.setattr(history, "DIRECTORY", str(tmp_path))
    for event in events:
        assert shell(history._append(gate.release, event, by="ann@ws1")).returncode == 0
    fact = GateObservation()

    observation = fact.process(shell(fact.command(gate, quick=True)).stdout.splitlines())

    assert gates.findings(gate, observation) == []
    assert {name for name, (status, _) in observation.answers.items() if status} == (asked or set(names(gate)))
    other = replace(gate, release="other0000000")
    assert not fact.process(shell(fact.command(other, quick=True)).stdout.splitlines()).quick
    assert not fact.process(shell(fact.command(gate)).stdout.splitlines()).quick


@pytest.mark.usefixtures("on_host")
def test_an_engine_that_lost_its_tools_does_not_pass(model: Path, shell: Shell) -> None:
    with engine(model, *arguments(), STANDIN_TOKENS_PER_SECOND="2000", STANDIN_FAIL="no-tools") as server:
        gate = strictly(gate_of(server.address))
        gate = replace(gate, probes=tuple(probe for probe in gate.probes if probe.name != "image"))
        observation = GateObservation().process(shell(GateObservation().command(gate)).stdout.splitlines())
    (finding,) = gates.findings(gate, observation)
    assert finding.startswith("the call of a tool: the answer holds no call (")


@pytest.mark.usefixtures("on_host")
def test_a_model_served_under_another_name_is_noticed(running: Engine, shell: Shell) -> None:
    gate = gate_of(running.address, served_model_name="other")
    findings = gates.findings(
        gate, GateObservation().process(shell(GateObservation().command(gate)).stdout.splitlines())
    )
    assert findings[0] == f"/v1/models names {LAB_MODEL}, not other"
    assert "a completion: HTTP 404 (The model `other` does not exist. " in findings[1]


@pytest.mark.usefixtures("on_host")
def test_where_nothing_listens_nothing_more_is_asked(shell: Shell) -> None:
    gate = gate_of("127.0.0.1:9")
    observation = GateObservation().process(shell(GateObservation().command(gate)).stdout.splitlines())
    assert (observation.healthy, observation.models, observation.metrics) == (False, (0, ""), ())
    assert set(observation.answers.values()) == {(0, "")}


def test_the_host_itself_waits_for_health_and_leaves_off_after_a_probe_that_takes_too_long(
    shell: Shell, programs: Programs
) -> None:
    programs(
        curl='echo "$*" >> asked; case "$*" in *health*) [ $(grep -c health asked) -ge 3 ] || exit 7;; '
        '*models*) printf "{}\\n200\\n";; *metrics*) echo vllm:x 1;; *) printf "\\n000\\n"; echo "curl: (28) timed out"; '
        "exit 28;; esac",
        systemctl="echo active",
        sleep="echo nap >> naps",
        docker="exit 1",
        date="echo 0",
    )
    observation = GateObservation().process(shell(GateObservation().command(LAB, 25)).stdout.splitlines())
    assert observation.healthy
    assert shell("wc -l < naps").stdout.strip() == "2"
    assert observation.answers["completion"] == (0, "curl: (28) timed out")
    assert shell("grep -c chat asked").stdout.strip() == "1"
    assert json.loads(LAB.probes[0].body)["model"] == LAB_MODEL
