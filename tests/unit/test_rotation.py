"""Leaving the balancers and returning to them, against balancers that do as HAProxy does; the clock is the test's."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from barewind.balancer import Admin, Health, Rotation, Server, Worker
from barewind.draining import Drain, Policy
from barewind.errors import BarewindError
from barewind.operations import rotation


@dataclass
class Balancer:
    """One HAProxy with one server; a request in flight ends at each look."""

    sessions: int = 0
    admin: Admin = Admin.READY
    health: Health = Health.UP
    silent: bool = False
    late: int = 0  # requests that are counted only after the first look of a drain

    def answer(self, command: str, others: dict[str, Health]) -> Rotation:
        if self.silent:
            raise BarewindError("lb2: the balancer does not answer (no route to host)")
        if "state drain" in command:
            self.admin = Admin.DRAIN
        if "state ready" in command:
            self.admin = Admin.READY
        server = Server("gpu1", self.admin, self.health, self.sessions, 0)
        self.sessions = max(0, self.sessions - 1)
        if "state drain" in command:
            self.sessions, self.late = self.sessions + self.late, 0
        beside = {name: Server(name, Admin.READY, health, 0, 0) for name, health in others.items()}
        return Rotation((Worker(12, True, {"gpu1": server, **beside}),))


@dataclass
class Fleet:
    """The state that operations get, and the host in hand."""

    balancers: dict[str, Balancer]
    said: list[str] = field(default_factory=list)
    clock: float = 0
    name: str = "gpu1"
    print_prefix: str = ""
    others: dict[str, Health] = field(default_factory=dict)  # servers beside it
    __hash__ = object.__hash__  # as pyinfra's hosts have it

    def log(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> Fleet:
    made = Fleet({"lb1": Balancer(), "lb2": Balancer()})

    def sleep(seconds: float) -> None:
        made.clock += seconds

    def ask(state: Any, names: list[str], command: str, read: Any) -> dict[str, Rotation]:
        return {name: made.balancers[name].answer(command, made.others) for name in names}

    monkeypatch.setattr(rotation, "_ask", ask)
    monkeypatch.setattr(rotation, "monotonic", lambda: made.clock)
    monkeypatch.setattr(rotation.gevent, "sleep", sleep)
    monkeypatch.setattr(rotation.logger, "error", made.said.append)
    monkeypatch.setattr(rotation.logger, "warning", made.said.append)
    return made


def take_out(fleet: Fleet, timeout: int = 60, policy: Policy = "abort", *, alone: bool = False) -> bool:
    drain = Drain(timeout, policy, ("gpu1",), allow_downtime=not alone, shutdown=600)
    return rotation.take_out(fleet, fleet, "gpu1", sorted(fleet.balancers), drain)  # type: ignore[arg-type]


def put_back(fleet: Fleet) -> bool:
    return rotation.put_back(fleet, fleet, "gpu1", sorted(fleet.balancers))  # type: ignore[arg-type]


def stage(fleet: Fleet) -> str | None:
    return rotation.moved.get(fleet)  # type: ignore[call-overload, no-any-return]


def test_every_balancer_is_told_and_requests_are_waited_for(fleet: Fleet) -> None:
    fleet.balancers["lb2"].sessions = 6
    assert take_out(fleet)
    assert fleet.clock == pytest.approx(5.2)  # the sixth look finds none, and so does the one right after it
    assert stage(fleet) == "out"
    assert all(one.admin is Admin.DRAIN for one in fleet.balancers.values())


def test_a_request_that_is_counted_late_is_waited_for(fleet: Fleet) -> None:
    fleet.balancers["lb1"].late = 3
    assert take_out(fleet)
    assert fleet.clock == pytest.approx(0.2 + 3 + 0.2)


def test_requests_that_do_not_end_in_time_keep_their_host(fleet: Fleet) -> None:
    fleet.balancers["lb1"].sessions = 1000
    assert not take_out(fleet, timeout=30)
    assert [one.admin for one in fleet.balancers.values()] == [Admin.READY, Admin.READY]
    assert "raise 'drain_timeout'" in fleet.said[-1]
    assert "the host was not touched" in fleet.said[-1]
    assert stage(fleet) is None


def test_policy_proceed_says_what_is_cut_and_goes_on(fleet: Fleet) -> None:
    fleet.balancers["lb1"].sessions = 1000
    assert take_out(fleet, timeout=30, policy="proceed")
    assert fleet.clock == 30
    assert fleet.balancers["lb1"].admin is Admin.DRAIN
    assert "969 request(s) are cut unless they end within the engine's own 600 s" in fleet.said[-1]


def test_policy_wait_waits_beyond_the_limit(fleet: Fleet) -> None:
    fleet.balancers["lb1"].sessions = 200
    assert take_out(fleet, timeout=30, policy="wait")
    assert fleet.clock == pytest.approx(199.2)
    assert any("waits longer than drain_timeout" in one for one in fleet.said)


def test_a_balancer_without_another_server_keeps_this_one(fleet: Fleet) -> None:
    assert not take_out(fleet, alone=True)
    assert [one.admin for one in fleet.balancers.values()] == [Admin.READY, Admin.READY]
    assert "lb1, lb2: sends requests to gpu1 only, and would have no server left" in fleet.said[-1]


def test_health_checks_that_have_not_ended_are_waited_for(fleet: Fleet) -> None:
    fleet.balancers["lb2"].health = Health.UNCHECKED
    assert not take_out(fleet)
    assert fleet.clock >= 60
    assert "servers not checked yet: 1 on lb2" in fleet.said[-1]
    assert stage(fleet) is None


def test_a_host_that_failed_leaves_every_balancer_that_can_be_told(fleet: Fleet) -> None:
    fleet.balancers["lb1"].silent = True
    with pytest.raises(BarewindError, match="no route to host"):
        rotation.hold(fleet, fleet, "gpu1", sorted(fleet.balancers))  # type: ignore[arg-type]
    assert fleet.balancers["lb2"].admin is Admin.DRAIN
    assert fleet.clock == 0


def test_a_balancer_that_does_not_answer_keeps_the_host_in_rotation_on_the_others(fleet: Fleet) -> None:
    fleet.balancers["lb2"].silent = True
    assert not take_out(fleet)
    assert fleet.balancers["lb1"].admin is Admin.READY
    assert "lb2: the balancer does not answer (no route to host)" in fleet.said[-1]


def test_a_host_that_was_out_already_stays_out_when_its_drain_is_given_up(fleet: Fleet) -> None:
    fleet.balancers["lb1"].admin = Admin.DRAIN
    fleet.balancers["lb2"].sessions = 1000
    assert not take_out(fleet, timeout=30)
    assert [one.admin for one in (fleet.balancers["lb1"], fleet.balancers["lb2"])] == [Admin.DRAIN, Admin.READY]
    fleet.balancers["lb2"].admin = Admin.DRAIN
    assert not take_out(fleet, timeout=30)
    assert all(one.admin is Admin.DRAIN for one in fleet.balancers.values())
    assert "It gets none, as before, the host was not touched" in fleet.said[-1]


def test_a_group_that_has_lost_others_meanwhile_is_waited_for_and_then_keeps_the_host(fleet: Fleet) -> None:
    drain = Drain(60, together=("gpu1",), allow_downtime=True, group={"gpu1": 1, "gpu2": 1})
    fleet.others = {"gpu2": Health.DOWN}
    assert not rotation.take_out(fleet, fleet, "gpu1", ["lb1", "lb2"], drain)  # type: ignore[arg-type]
    assert fleet.clock >= 60
    assert "gpu2 out of rotation by now, and max_unavailable is 1: gpu1 cannot leave as well" in fleet.said[-1]
    assert all(one.admin is Admin.READY for one in fleet.balancers.values())
    fleet.others = {"gpu2": Health.UP}
    assert rotation.take_out(fleet, fleet, "gpu1", ["lb1", "lb2"], drain)  # type: ignore[arg-type]


def test_a_return_waits_for_the_health_check(fleet: Fleet) -> None:
    for one in fleet.balancers.values():
        one.admin = Admin.DRAIN
    assert take_out(fleet)
    assert put_back(fleet)
    assert stage(fleet) == "back"
    assert [one.admin for one in fleet.balancers.values()] == [Admin.READY, Admin.READY]


def test_a_host_that_stays_down_on_a_balancer_is_named(fleet: Fleet) -> None:
    fleet.balancers["lb2"].health = Health.DOWN
    assert not put_back(fleet)
    assert fleet.clock >= 120
    assert "DOWN on lb2" in fleet.said[-1]
