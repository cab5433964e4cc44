"""A host that is rolled back to what it served before, and one that is undrained as it is, on hosts that answer as they do."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import pytest

from barewind.errors import BarewindError
from barewind.gate import evaluation
from barewind.gate.evaluation import Evaluation
from barewind.gate.plan import Gate
from barewind.hosts.shell import Answer
from barewind.plan.engine import plan_host
from barewind.release.history import Event
from barewind.rollout.operations import rollback
from tests.support.factories import engine_spec, locked
from tests.support.fake_fleet import sections
from tests.support.histories import FAILED, FIRST, RESTORED, A, B, Z, record

SPEC = engine_spec()
PLAN = plan_host(SPEC, locked(SPEC))


@dataclass
class Host:
    """The host in hand, and whatever else operations ask for."""

    running: str = B
    lacks: str = ""  # what it answers with a failure
    record: dict[str, Any] = field(default_factory=dict)  # what its records hold beside what they have in common
    asked: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    events: list[Event] = field(default_factory=lambda: [*FIRST, *FAILED])
    name: str = "gpu-h1"
    print_prefix: str = ""

    def log(self, text: str) -> None:
        self.messages.append(text)

    def run(self, state: object, host: object, command: str, *, timeout: int = 60, stdin: str | None = None) -> Answer:
        del state, host, timeout
        self.asked.append(command if stdin is None else f"{command} < {stdin}")
        if self.lacks and self.lacks in command:
            return Answer("", "No such image")
        if "@@barewind:records" in command:
            unit = ["ActiveState=active"]
            own = {"weights": ("/w",), **self.record}
            records = [json.dumps(asdict(record(release, **{"unit": f"# {release}\n"} | own))) for release in (Z, A)]
            events = [json.dumps(asdict(event)) for event in self.events]
            return Answer("\n".join(sections(records=records, events=events, state=unit, release=[self.running])), "")
        if "systemctl restart" in command:
            self.running = A
        return Answer("", "")


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    made = Host()
    monkeypatch.setattr(rollback, "run", made.run)
    monkeypatch.setattr(rollback, "check", lambda _, __, gate: "" if gate.release == made.running else "wrong")
    return made


def roll_back(host: Host) -> str:
    return rollback.roll_back(host, host, PLAN, B)  # type: ignore[arg-type]


def test_the_unit_of_the_record_is_written_started_gated_and_noted(host: Host) -> None:
    assert roll_back(host) == A
    steps = [
        "@@barewind:records",
        "/w",
        "docker image inspect",
        "service.d/barewind.conf",
        f"< # {A}\n",
        "daemon-reload",
        '"restored"',
    ]
    assert [next(step for step in steps if step in command) for command in host.asked] == steps


def test_a_unit_that_the_record_conceals_is_copied_on_the_host(host: Host) -> None:
    host.record = {"unit": "--env=HF_TOKEN=sha256:12", "unit_sha256": "5e" * 32}
    assert roll_back(host) == A
    (copied,) = [command for command in host.asked if "barewind-engine.service.new" in command]
    assert f"cat /etc/barewind/releases/{A}.unit" in copied
    assert "sha256:12" not in copied


def test_what_runs_it_already_is_only_gated(host: Host) -> None:
    host.running = A
    assert roll_back(host) == A
    assert not any("systemctl restart" in command for command in host.asked)


def test_nothing_is_touched_without_its_image(host: Host) -> None:
    host.lacks = "docker image inspect"
    with pytest.raises(BarewindError, match="image x@sha256:1 is not there any more"):
        roll_back(host)
    assert not any("systemctl" in command and "restart" in command for command in host.asked)


def test_an_earlier_release_that_does_not_pass_either_is_said(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollback, "check", lambda *_: "out of memory")
    with pytest.raises(BarewindError, match=f"release {A} does not pass its gate either .out of memory."):
        roll_back(host)
    assert not any('"restored"' in command for command in host.asked)


# --- A host that is undrained as it is -------------------------------------------------------------------------------------


@pytest.fixture
def asked(host: Host, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Evaluation | None]]:
    """The releases that were gated, and how each was evaluated."""
    gates: list[tuple[str, Evaluation | None]] = []

    def check(state: object, of: object, gate: Gate, wanted: Evaluation | None, *, why: str | None) -> str:
        del state, of, why
        gates.append((gate.release, wanted))
        return "wrong" if host.lacks == "gate" else ""

    monkeypatch.setattr(rollback, "check", check)
    return gates


STRICT = replace(PLAN, spec=engine_spec(accuracy_floor=0.9))


def as_it_is(host: Host, running: str) -> list[str]:
    host.running = running
    rollback.pass_gate(host, host, STRICT, why="nightly")  # type: ignore[arg-type]
    return [command for command in host.asked if '"serving"' in command]


def test_the_planned_release_is_evaluated_and_noted(host: Host, asked: list[tuple[str, Evaluation | None]]) -> None:
    noted = as_it_is(host, str(PLAN.release))
    assert asked == [(PLAN.release, evaluation.of(STRICT))]
    assert asked[0][1] is not None
    assert len(noted) == 1
    assert f'"release": "{PLAN.release}"' in noted[0]
    assert "nightly" in noted[0]


def test_another_release_is_not_evaluated(host: Host, asked: list[tuple[str, Evaluation | None]]) -> None:
    assert as_it_is(host, A)
    assert asked == [(A, None)]


def test_what_was_last_seen_to_serve_is_not_noted_again(
    host: Host, asked: list[tuple[str, Evaluation | None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    host.events = FIRST
    assert as_it_is(host, A) == []
    assert asked


def test_what_does_not_pass_is_not_noted(host: Host, asked: list[tuple[str, Evaluation | None]]) -> None:
    host.lacks = "gate"
    with pytest.raises(BarewindError, match="wrong"):
        as_it_is(host, A)
    assert asked
    assert not any('"serving"' in command for command in host.asked)


@pytest.mark.parametrize(
    ("events", "running", "serving"),
    [
        (FIRST, A, True),
        (FIRST, B, False),  # it runs what it has not passed the gate of
        ([*FIRST, *FAILED], B, False),
        ([*FIRST, *FAILED], A, False),  # another was started since
        ([*FIRST, *FAILED, *RESTORED], A, True),
        (FIRST, "", False),
    ],
)
def test_an_engine_serves_by_its_history(host: Host, events: list[Event], running: str, serving: bool) -> None:
    host.events, host.running = events, running
    assert rollback.is_serving(host, host, PLAN) is serving  # type: ignore[arg-type]


def test_an_engine_of_a_host_that_does_not_answer_is_not_taken_to_serve(host: Host) -> None:
    host.lacks = "@@barewind:records"
    assert not rollback.is_serving(host, host, PLAN)  # type: ignore[arg-type]
