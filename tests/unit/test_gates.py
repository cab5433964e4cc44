"""Which probes a plan calls for, and when an engine has passed; the script against a running stand-in engine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from barewind import gates, history
from barewind.facts.gate import GateLook
from barewind.gates import BASIC, Gate, Progress, Seen
from barewind.history import record
from barewind.probes import Probe
from tests.unit.conftest import Programs, Shell
from tests.unit.factories import LAB_MODEL, MEDIUM, engine_spec, lab_spec, plan
from tests.unit.fake_fleet import gate as fake_gate
from tests.unit.standin import Engine, engine

UNIT = "barewind-engine.service"
GATE = gates.of(plan(), UNIT)
LAB = gates.of(plan(lab_spec()), UNIT)
PASSING = GateLook().process(fake_gate())
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
    assert names(gates.of(plan(engine_spec(**changes)), UNIT)) == (wanted or ["completion", "tool"])


def test_the_engines_differ_in_paths_and_names() -> None:
    sglang = gates.of(plan(engine_spec(engine="sglang")), UNIT)
    assert (GATE.health, GATE.metrics) == ("/health", "vllm:")
    assert (sglang.health, sglang.metrics) == ("/ready", "sglang:")
    assert sglang.probes[-1].reasoning_field == "reasoning_content"
    quiet = engine_spec(engine_args={"disable-log-stats": True})
    assert gates.of(plan(quiet), UNIT).metrics is None


def test_only_a_model_that_is_known_to_reason_must_be_clever() -> None:
    assert all(probe.strict for probe in GATE.probes if probe.name != "completion")
    assert not any(probe.strict for probe in LAB.probes)


def test_a_record_on_a_host_has_the_gate_of_its_plan() -> None:
    made = plan(engine_spec(modality="image"))
    assert gates.of_record(record(made, "[Unit]\n"), plan(), UNIT) == gates.of(made, UNIT)


# --- Verdicts ---


def judged(*looks: Seen | None, waited: float = 10, gate: Gate = GATE) -> gates.Verdict:
    progress = Progress()
    for look in looks:
        verdict = gates.judge(gate, look, progress, waited=waited)
    return verdict


def test_it_passes_when_everything_is_right() -> None:
    assert gates.findings(GATE, PASSING) == []
    assert judged(PASSING).outcome == "passed"
    assert judged(SILENT, WRONG, WRONG, None, PASSING).outcome == "passed"


@pytest.mark.parametrize(
    ("looks", "waited", "why"),
    [
        ([SILENT], 10, "/health does not answer yet"),
        ([WRONG, WRONG], 10, "it is up, but does not yet answer as it must"),
        ([WRONG, SILENT, WRONG, WRONG], 10, "it is up, but does not yet answer as it must"),
        ([BEFORE, replace(SILENT, restarts=8)], 10, "/health does not answer yet"),
        ([None, None], 119, "the host does not answer"),
    ],
)
def test_it_waits(looks: list[Seen | None], waited: float, why: str) -> None:
    verdict = judged(*looks, waited=waited)
    assert (verdict.outcome, verdict.why) == ("waiting", why)


@pytest.mark.parametrize(
    ("looks", "waited", "why"),
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
def test_it_gives_up(looks: list[Seen | None], waited: float, why: str) -> None:
    verdict = judged(*looks, waited=waited)
    assert (verdict.outcome, verdict.why) == ("failed", why)


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
    with engine(model, *arguments(modality="image"), STANDIN_TOKENS_PER_SECOND="2000") as found:
        yield found


@pytest.fixture
def on_host(programs: Programs) -> None:
    programs(
        systemctl='case "$*" in *-P*) echo active;; *) echo ActiveState=active; echo NRestarts=3; echo Result=success;; esac',
        docker="exit 1",
        journalctl="echo 'a line of the log'; echo 'the last one'",
    )


def gate_of(address: str, **changes: Any) -> Gate:
    made = gates.of(plan(lab_spec(speculative=False, **changes)), UNIT)
    return replace(made, url=f"http://{address}")


def strictly(gate: Gate) -> Gate:
    """As Medium 3.5 would be asked."""
    known = gates.of(plan(engine_spec(modality="image")), UNIT).probes
    bodies = [Probe(one.name, one.says, one.body.replace(MEDIUM, LAB_MODEL), one.strict, "reasoning") for one in known]
    return replace(gate, probes=tuple(bodies))


@pytest.mark.usefixtures("on_host")
@pytest.mark.parametrize("strict", [False, True])
def test_an_engine_that_serves_passes_every_probe(running: Engine, shell: Shell, strict: bool) -> None:
    gate = gate_of(running.address, modality="image")
    gate = strictly(gate) if strict else gate
    fact = GateLook()

    seen = fact.process(shell(fact.command(gate, log=True)).stdout.splitlines())

    assert names(gate) == ["completion", "image", "tool", "reasoning_on", "reasoning_off"]
    assert gates.findings(gate, seen) == []
    assert (seen.healthy, seen.state, seen.restarts, seen.release) == (True, "active", 3, None)
    assert seen.log == ("a line of the log", "the last one")


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
def test_one_that_has_passed_with_nothing_begun_since_is_asked_for_a_completion_only(
    running: Engine, shell: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, events: list[str], asked: set[str]
) -> None:
    gate = gate_of(running.address)
    file = tmp_path / "history.jsonl"
    monkeypatch.setattr(history, "EVENTS_FILE", str(file))
    monkeypatch.setattr(history, "DIRECTORY", str(tmp_path))
    for one in events:
        assert shell(history._append(gate.release, one, by="ann@ws1")).returncode == 0
    fact = GateLook()

    seen = fact.process(shell(fact.command(gate, quick=True)).stdout.splitlines())

    assert gates.findings(gate, seen) == []
    assert {name for name, (status, _) in seen.answers.items() if status} == (asked or set(names(gate)))
    other = replace(gate, release="other0000000")
    assert not fact.process(shell(fact.command(other, quick=True)).stdout.splitlines()).quick
    assert not fact.process(shell(fact.command(gate)).stdout.splitlines()).quick


@pytest.mark.usefixtures("on_host")
def test_an_engine_that_lost_its_tools_does_not(model: Path, shell: Shell) -> None:
    with engine(model, *arguments(), STANDIN_TOKENS_PER_SECOND="2000", STANDIN_FAIL="no-tools") as found:
        gate = strictly(gate_of(found.address))
        gate = replace(gate, probes=tuple(one for one in gate.probes if one.name != "image"))
        seen = GateLook().process(shell(GateLook().command(gate)).stdout.splitlines())
    (finding,) = gates.findings(gate, seen)
    assert finding.startswith("the call of a tool: the answer holds no call (")


@pytest.mark.usefixtures("on_host")
def test_a_model_served_under_another_name_is_noticed(running: Engine, shell: Shell) -> None:
    gate = gate_of(running.address, served_model_name="other")
    found = gates.findings(gate, GateLook().process(shell(GateLook().command(gate)).stdout.splitlines()))
    assert found[0] == f"/v1/models names {LAB_MODEL}, not other"
    assert "a completion: HTTP 404 (The model `other` does not exist. " in found[1]


@pytest.mark.usefixtures("on_host")
def test_where_nothing_listens_nothing_more_is_asked(shell: Shell) -> None:
    gate = gate_of("127.0.0.1:9")
    seen = GateLook().process(shell(GateLook().command(gate)).stdout.splitlines())
    assert (seen.healthy, seen.models, seen.metrics) == (False, (0, ""), ())
    assert set(seen.answers.values()) == {(0, "")}


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
    seen = GateLook().process(shell(GateLook().command(LAB, 25)).stdout.splitlines())
    assert seen.healthy
    assert shell("wc -l < naps").stdout.strip() == "2"
    assert seen.answers["completion"] == (0, "curl: (28) timed out")
    assert shell("grep -c chat asked").stdout.strip() == "1"
    assert json.loads(LAB.probes[0].body)["model"] == LAB_MODEL
