"""A host that goes back to what it served before, and a canary that is watched, against hosts that answer as they do."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import pytest

from barewind import canary as counting
from barewind import evaluation, gates
from barewind.balancer import Admin, Health, Rotation, Server, Worker
from barewind.errors import BarewindError
from barewind.evaluation import Evaluation
from barewind.gates import Gate
from barewind.history import Event
from barewind.operations import canary, restore
from barewind.operations.shell import Answer
from barewind.plan import plan_host
from tests.unit.factories import engine_spec, locked
from tests.unit.fake_fleet import sections
from tests.unit.test_going_back import FAILED, FIRST, A, B, Z, record

SPEC = engine_spec()
PLAN = plan_host(SPEC, locked(SPEC))


@dataclass
class Host:
    """The host in hand, and whatever else operations ask for."""

    running: str = B
    lacks: str = ""  # what it answers with a failure
    asked: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    events: list[Event] = field(default_factory=lambda: [*FIRST, *FAILED])
    name: str = "gpu-h1"
    print_prefix: str = ""

    def log(self, text: str) -> None:
        self.said.append(text)

    def run(self, state: object, host: object, command: str, *, timeout: int = 60, stdin: str | None = None) -> Answer:
        del state, host, timeout
        self.asked.append(command if stdin is None else f"{command} < {stdin}")
        if self.lacks and self.lacks in command:
            return Answer("", "No such image")
        if "@@barewind:records" in command:
            unit = ["ActiveState=active"]
            records = [json.dumps(asdict(record(one, unit=f"# {one}\n", weights=("/w",)))) for one in (Z, A)]
            events = [json.dumps(asdict(one)) for one in self.events]
            return Answer("\n".join(sections(records=records, events=events, state=unit, release=[self.running])), "")
        if "systemctl restart" in command:
            self.running = A
        return Answer("", "")


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    made = Host()
    monkeypatch.setattr(restore, "run", made.run)
    monkeypatch.setattr(restore, "check", lambda _, __, gate: "" if gate.release == made.running else "wrong")
    return made


def back(host: Host) -> str:
    return restore.restore(host, host, PLAN, B)  # type: ignore[arg-type]


def test_the_unit_of_the_record_is_written_started_gated_and_noted(host: Host) -> None:
    assert back(host) == A
    steps = ["@@barewind:records", "/w", "docker image inspect", f"< # {A}\n", "daemon-reload", '"restored"']
    assert [next(step for step in steps if step in one) for one in host.asked] == steps


def test_what_runs_it_already_is_only_gated(host: Host) -> None:
    host.running = A
    assert back(host) == A
    assert not any("systemctl restart" in one for one in host.asked)


def test_nothing_is_touched_without_its_image(host: Host) -> None:
    host.lacks = "docker image inspect"
    with pytest.raises(BarewindError, match="image x@sha256:1 is not there any more"):
        back(host)
    assert not any("systemctl" in one and "restart" in one for one in host.asked)


def test_an_earlier_release_that_does_not_pass_either_is_said(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restore, "check", lambda *_: "out of memory")
    with pytest.raises(BarewindError, match=f"release {A} does not pass its gate either .out of memory."):
        back(host)
    assert not any('"restored"' in one for one in host.asked)


# --- A host that returns as it is -------------------------------------------------------------------------------------


@pytest.fixture
def asked(host: Host, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Evaluation | None]]:
    """The releases that were gated, and how each was evaluated."""
    found: list[tuple[str, Evaluation | None]] = []

    def check(state: object, of: object, gate: Gate, wanted: Evaluation | None, *, why: str | None) -> str:
        del state, of, why
        found.append((gate.release, wanted))
        return "wrong" if host.lacks == "gate" else ""

    monkeypatch.setattr(restore, "check", check)
    return found


STRICT = replace(PLAN, spec=engine_spec(accuracy_floor=0.9))


def as_it_is(host: Host, running: str) -> list[str]:
    host.running = running
    restore.gated(host, host, STRICT, why="nightly")  # type: ignore[arg-type]
    return [one for one in host.asked if '"serving"' in one]


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
    assert not any('"serving"' in one for one in host.asked)


# --- The canary -------------------------------------------------------------------------------------------------------


@dataclass
class Watched:
    """A host under traffic: per look one more set of figures."""

    units: Callable[[float], str] = lambda clock: "ActiveState=active\nNRestarts=0\n"  # noqa: ARG005
    failed: Callable[[float], int] = lambda clock: 0  # noqa: ARG005
    healthy: Callable[[float], bool] = lambda clock: True  # noqa: ARG005
    silent: Callable[[float], bool] = lambda clock: False  # noqa: ARG005 - the balancer
    clock: float = 0
    asked: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    name: str = "gpu1"
    print_prefix: str = ""

    @property
    def inventory(self) -> Watched:
        return self

    def get_host(self, name: str) -> str:
        return name

    def log(self, text: str) -> None:
        self.said.append(text)

    def sleep(self, seconds: float) -> None:
        self.clock += seconds

    def run(self, state: object, host: object, command: str) -> Answer:
        del state, host
        self.asked.append(command)
        if "systemctl show" in command:
            unit = self.units(self.clock)
            return Answer(unit, "" if unit else "no route to host")
        if "show stat" in command and self.silent(self.clock):
            return Answer("", "connection reset")
        if "show stat" in command:
            count = int(self.clock)
            rows = f"engines,gpu1,{count},{self.failed(self.clock)},0,0\nengines,gpu2,{count},0,0,0"
            return Answer(f"# pxname,svname,stot,hrsp_5xx,econ,eresp\n{rows}\n", "")
        return Answer("", "" if self.healthy(self.clock) else "503")


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[bool, Watched]]:
    def play(**values: Any) -> tuple[bool, Watched]:
        made = Watched(**values)
        servers = {name: Server(name, Admin.READY, Health.UP, 0, 0) for name in ("gpu1", "gpu2")}
        rotation = Rotation((Worker(1, True, servers),))
        monkeypatch.setattr(canary, "run", made.run)

        def look(state: object, names: list[str]) -> dict[str, Rotation]:
            del state
            if made.silent(made.clock):
                raise BarewindError("lb1: the balancer does not answer (connection reset)")
            return dict.fromkeys(names, rotation)

        monkeypatch.setattr(canary, "look", look)
        monkeypatch.setattr(canary, "monotonic", lambda: made.clock)
        monkeypatch.setattr(canary.gevent, "sleep", made.sleep)
        monkeypatch.setattr(canary.logger, "error", made.said.append)
        gate = gates.of(PLAN, "barewind-engine.service")
        return canary.bake(made, made, "gpu1", ["lb1"], 600, gate), made  # type: ignore[arg-type]

    return play


def test_a_canary_that_does_well_is_watched_to_the_end(watch: Callable[..., tuple[bool, Watched]]) -> None:
    good, host = watch()
    assert good
    assert host.clock == 600
    assert "0 of 600 requests failed on gpu1, 0 of 600 on the others" in host.said[-1]


def test_a_restart_is_seen_at_once(watch: Callable[..., tuple[bool, Watched]]) -> None:
    good, host = watch(units=lambda clock: f"ActiveState=active\nNRestarts={int(clock > 60)}\n")
    assert not good
    assert host.clock == 65
    assert "its unit was at ActiveState=active NRestarts=0, and is at ActiveState=active NRestarts=1" in host.said[-1]
    assert any('"failed"' in one for one in host.asked)


def test_errors_are_seen_at_once(watch: Callable[..., tuple[bool, Watched]]) -> None:
    good, host = watch(failed=lambda clock: int(clock > 100) * 10)
    assert not good
    assert host.clock == 105
    assert "10 of 105 requests failed on gpu1" in host.said[-1]


def test_one_late_health_check_is_forgiven_three_are_not(watch: Callable[..., tuple[bool, Watched]]) -> None:
    assert watch(healthy=lambda clock: clock != 50)[0]
    good, host = watch(healthy=lambda clock: clock < 50)
    assert not good
    assert host.clock == 60


def test_a_host_that_cannot_be_asked_for_a_moment_is_forgiven(watch: Callable[..., tuple[bool, Watched]]) -> None:
    assert watch(units=lambda clock: "" if clock == 50 else "ActiveState=active\nNRestarts=0\n")[0]


@pytest.mark.parametrize("first", [0, 50, 600])
def test_a_balancer_that_does_not_answer_twice_is_forgiven(
    watch: Callable[..., tuple[bool, Watched]], first: int
) -> None:
    good, host = watch(silent=lambda clock: first <= clock <= first + 5)
    assert good
    assert host.clock == max(600, first + 10)  # it does not end on a look that has found out nothing


@pytest.mark.parametrize("first", [0, 50])
def test_a_balancer_that_goes_on_not_answering_is_not(watch: Callable[..., tuple[bool, Watched]], first: int) -> None:
    good, host = watch(silent=lambda clock: clock >= first)
    assert not good
    assert host.clock == first + 10
    assert "lb1: " in host.said[-1]
    assert "(connection reset); 3 looks in a row" in host.said[-1]


def test_a_host_that_does_not_answer_at_the_first_look_is_asked_again(
    watch: Callable[..., tuple[bool, Watched]],
) -> None:
    assert watch(units=lambda clock: "" if clock < 10 else "ActiveState=active\nNRestarts=0\n")[0]
    good, host = watch(units=lambda clock: "")  # noqa: ARG005
    assert not good
    assert "its host does not say how its unit is (no route to host); 3 looks in a row" in host.said[-1]


def test_the_counters_are_asked_of_the_current_process() -> None:
    assert "show stat engines 4 -1" in counting.COUNTERS
    assert counting.SOCKET in counting.COUNTERS
