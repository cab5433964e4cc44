"""A host that goes back to what it served before, and a canary that is watched, against hosts that answer as they do."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import pytest

from barewind import canary as counting
from barewind import gates
from barewind.balancer import Admin, Health, Rotation, Server, Worker
from barewind.errors import BarewindError
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
            events = [json.dumps(asdict(one)) for one in (*FIRST, *FAILED)]
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


# --- The canary -------------------------------------------------------------------------------------------------------


@dataclass
class Watched:
    """A host under traffic: per look one more set of figures."""

    units: Callable[[float], str] = lambda clock: "ActiveState=active\nNRestarts=0\n"  # noqa: ARG005
    failed: Callable[[float], int] = lambda clock: 0  # noqa: ARG005
    healthy: Callable[[float], bool] = lambda clock: True  # noqa: ARG005
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
            return Answer(self.units(self.clock), "")
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
        monkeypatch.setattr(canary, "look", lambda _, names: dict.fromkeys(names, rotation))
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


def test_the_counters_are_asked_of_the_current_process() -> None:
    assert "show stat engines 4 -1" in counting.COUNTERS
    assert counting.SOCKET in counting.COUNTERS
