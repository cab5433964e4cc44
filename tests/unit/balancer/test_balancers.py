"""Draining hosts and undraining them, on balancers that do as HAProxy does; the clock is the test's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import gevent
import pytest

from barewind.balancer.commands import Admin, Health
from barewind.balancer.drain import Drain, Policy
from barewind.balancer.operations import balancers
from barewind.errors import BarewindError
from tests.support.balancers import FakeBalancers, FakeHost, haproxy, up
from tests.support.clock import Clock, keep_time


@dataclass
class Fleet:
    """Two balancers that have one host, and what is said."""

    host: FakeHost = field(default_factory=FakeHost)
    clock: Clock = field(default_factory=Clock)
    balancers: FakeBalancers = field(default_factory=lambda: FakeBalancers(lb1=haproxy("gpu1"), lb2=haproxy("gpu1")))

    def change(self, balancer: str, **values: object) -> None:
        self.balancers.haproxies[balancer].change("gpu1", **values)

    def silence(self, balancer: str) -> None:
        self.balancers.haproxies[balancer].silent = lambda: True

    @property
    def messages(self) -> list[str]:
        return self.host.messages

    @property
    def admin(self) -> list[Admin]:
        return [haproxy.servers["gpu1"].admin for haproxy in self.balancers.haproxies.values()]

    @property
    def stage(self) -> str | None:
        return self.balancers.stages.get("gpu1")

    def drain(self, timeout: int = 60, policy: Policy = "abort", *, alone: bool = False) -> bool:
        return self.drain_as(Drain(timeout, policy, ("gpu1",), allow_downtime=not alone, shutdown=600))

    def drain_as(self, drain: Drain) -> bool:
        return self.balancers.drain(self.host, self.host.name, drain)  # type: ignore[arg-type]

    def undrain(self) -> bool:
        return self.balancers.undrain(self.host, self.host.name)  # type: ignore[arg-type]


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> Fleet:
    fleet = Fleet()
    keep_time(monkeypatch, fleet.clock, fleet.clock.pause)
    monkeypatch.setattr(balancers.logger, "error", fleet.messages.append)
    monkeypatch.setattr(balancers.logger, "warning", fleet.messages.append)
    return fleet


def test_every_balancer_is_told_and_requests_are_waited_for(fleet: Fleet) -> None:
    fleet.change("lb2", sessions=6)
    assert fleet.drain()
    # The look before the drain sees one end; the sixth of the drain finds none, and so does the one right after it.
    assert fleet.clock.now == pytest.approx(5.2)
    assert fleet.stage == "drained"
    assert fleet.admin == [Admin.DRAIN, Admin.DRAIN]


def test_a_request_that_is_counted_late_is_waited_for(fleet: Fleet) -> None:
    fleet.balancers.haproxies["lb1"].late = 3
    assert fleet.drain()
    assert fleet.clock.now == pytest.approx(0.2 + 3 + 0.2)


def test_requests_that_do_not_end_in_time_keep_their_host(fleet: Fleet) -> None:
    fleet.change("lb1", sessions=1000)
    assert not fleet.drain(timeout=30)
    assert fleet.admin == [Admin.READY, Admin.READY]
    assert "raise 'drain_timeout'" in fleet.messages[-1]
    assert "the host was not touched" in fleet.messages[-1]
    assert fleet.stage is None


def test_policy_proceed_says_what_is_cut_and_goes_on(fleet: Fleet) -> None:
    fleet.change("lb1", sessions=1000)
    assert fleet.drain(timeout=30, policy="proceed")
    assert fleet.clock.now == 30
    assert fleet.admin[0] is Admin.DRAIN
    assert "969 request(s) are cut unless they end within the engine's own 600 s" in fleet.messages[-1]


def test_policy_wait_waits_beyond_the_limit(fleet: Fleet) -> None:
    fleet.change("lb1", sessions=200)
    assert fleet.drain(timeout=30, policy="wait")
    assert fleet.clock.now == pytest.approx(199.2)
    assert any("waits longer than drain_timeout" in message for message in fleet.messages)


def test_a_balancer_without_another_server_keeps_this_one(fleet: Fleet) -> None:
    assert not fleet.drain(alone=True)
    assert fleet.admin == [Admin.READY, Admin.READY]
    assert "lb1, lb2: sends requests to gpu1 only, and would have no server left" in fleet.messages[-1]


def test_health_checks_that_have_not_ended_are_waited_for(fleet: Fleet) -> None:
    fleet.change("lb2", health=Health.UNCHECKED)
    assert not fleet.drain()
    assert fleet.clock.now >= 60
    assert "servers not checked yet: 1 on lb2" in fleet.messages[-1]
    assert fleet.stage is None


def test_a_host_that_failed_is_drained_on_every_balancer_that_can_be_told(fleet: Fleet) -> None:
    fleet.silence("lb1")
    with pytest.raises(BarewindError, match="no route to host"):
        fleet.balancers.drain_at_once(fleet.host.name)
    assert fleet.admin[1] is Admin.DRAIN
    assert fleet.clock.now == 0


def test_a_balancer_that_does_not_answer_keeps_the_host_in_rotation_on_the_others(fleet: Fleet) -> None:
    fleet.silence("lb2")
    assert not fleet.drain()
    assert fleet.admin[0] is Admin.READY
    assert "lb2: the balancer does not answer (no route to host)" in fleet.messages[-1]


def test_a_host_that_was_drained_already_stays_so_when_its_drain_is_given_up(fleet: Fleet) -> None:
    fleet.change("lb1", admin=Admin.DRAIN)
    fleet.change("lb2", sessions=1000)
    assert not fleet.drain(timeout=30)
    assert fleet.admin == [Admin.DRAIN, Admin.READY]
    fleet.change("lb2", admin=Admin.DRAIN)
    assert not fleet.drain(timeout=30)
    assert fleet.admin == [Admin.DRAIN, Admin.DRAIN]
    assert "It gets none, as before, the host was not touched" in fleet.messages[-1]


def test_a_group_that_has_lost_others_meanwhile_is_waited_for_and_then_keeps_the_host(fleet: Fleet) -> None:
    drain = Drain(60, together=("gpu1",), allow_downtime=True, group={"gpu1": 1, "gpu2": 1})
    for balancer in fleet.balancers.haproxies.values():
        balancer.servers["gpu2"] = up("gpu2", health=Health.DOWN)
    assert not fleet.drain_as(drain)
    assert fleet.clock.now >= 60
    assert "gpu2 out of rotation by now, and max_unavailable is 1: gpu1 cannot be drained as well" in fleet.messages[-1]
    assert fleet.admin == [Admin.READY, Admin.READY]
    for balancer in fleet.balancers.haproxies.values():
        balancer.servers["gpu2"] = up("gpu2")
    assert fleet.drain_as(drain)


def test_an_undrain_waits_for_the_health_check(fleet: Fleet) -> None:
    for name in ("lb1", "lb2"):
        fleet.change(name, admin=Admin.DRAIN)
    assert fleet.drain()
    assert fleet.undrain()
    assert fleet.stage == "undrained"
    assert fleet.admin == [Admin.READY, Admin.READY]


def test_a_host_that_stays_down_on_a_balancer_is_named(fleet: Fleet) -> None:
    fleet.change("lb2", health=Health.DOWN)
    assert not fleet.undrain()
    assert fleet.clock.now >= 120
    assert "DOWN on lb2" in fleet.messages[-1]


def test_balancers_of_another_run_remember_nothing(fleet: Fleet) -> None:
    assert fleet.drain()
    assert FakeBalancers(**fleet.balancers.haproxies).stages == {}


# --- Several hosts at the same time -----------------------------------------------------------------------------------

MANY = tuple(f"gpu{number}" for number in range(1, 41))


@dataclass
class Batch:
    """Forty hosts of two balancers in one batch; a forty-first serves on."""

    balancers: FakeBalancers = field(
        default_factory=lambda: FakeBalancers(lb1=haproxy(*MANY, "rest"), lb2=haproxy(*MANY, "rest"))
    )
    hosts: tuple[FakeHost, ...] = tuple(FakeHost(name) for name in MANY)

    def drain(self, **values: Any) -> dict[str, bool]:
        drain = Drain(**{"timeout": 30, "together": MANY} | values)
        return self._each(lambda host: self.balancers.drain(host, host.name, drain))

    def undrain(self) -> dict[str, bool]:
        return self._each(lambda host: self.balancers.undrain(host, host.name, MANY))

    def asked(self) -> dict[str, list[int]]:
        """How many servers each command since the last look here has named, by balancer; 0: it only reads."""
        counts = {}
        for name, balancer in self.balancers.haproxies.items():
            counts[name] = [command.count("set server engines/") for command in balancer.asked]
            balancer.asked.clear()
        return counts

    def _each(self, do: Callable[[Any], bool]) -> dict[str, bool]:
        turns = {host.name: gevent.spawn(do, host) for host in self.hosts}
        return {name: turn.get(timeout=60) for name, turn in turns.items()}


@pytest.fixture
def batch(fleet: Fleet) -> Batch:
    del fleet  # its clock and its ears
    return Batch()


def test_a_batch_is_drained_and_undrained_in_one_command_per_balancer(batch: Batch) -> None:
    assert set(batch.drain().values()) == {True}
    assert batch.asked() == {"lb1": [0, 40, 40], "lb2": [0, 40, 40]}  # a look, the drain, and the look that agrees
    assert {server.admin for name, server in batch.balancers.look()["lb2"].servers.items() if name in MANY} == {
        Admin.DRAIN
    }
    batch.asked()
    assert set(batch.undrain().values()) == {True}
    assert batch.asked() == {"lb1": [40], "lb2": [40]}
    assert {server.admin for server in batch.balancers.look()["lb1"].servers.values()} == {Admin.READY}


def test_a_look_before_each_of_many_drains_asks_for_what_has_changed_since_the_last(fleet: Fleet) -> None:
    lb = fleet.balancers.haproxies["lb1"]
    lb.servers["gpu2"] = up("gpu2")
    before = fleet.balancers.look()["lb1"].fingerprint
    for _ in range(3):
        lb.asked.clear()
        assert fleet.drain()
        assert f'"{before}"' in lb.asked[0]
        assert fleet.undrain()
    fleet.change("lb1", weight=1)
    assert fleet.drain()
    assert fleet.balancers.look_again()["lb1"].fingerprint != before


def test_a_drain_that_does_not_end_keeps_its_host_alone(batch: Batch) -> None:
    batch.balancers.haproxies["lb1"].change("gpu7", sessions=1000)
    drained = batch.drain()
    assert [name for name, done in drained.items() if not done] == ["gpu7"]
    for balancer in batch.balancers.look().values():
        assert {name for name, server in balancer.servers.items() if server.admin is Admin.READY} == {"gpu7", "rest"}
    assert [host.name for host in batch.hosts if any("requests in flight" in line for line in host.messages)] == [
        "gpu7"
    ]


def test_drains_that_are_given_up_together_are_undone_where_they_had_not_been(batch: Batch) -> None:
    batch.balancers.haproxies["lb2"].change("gpu1", admin=Admin.DRAIN)
    for name in MANY:
        batch.balancers.haproxies["lb1"].change(name, sessions=1000)
    assert set(batch.drain().values()) == {False}
    now = batch.balancers.look()
    assert {server.admin for server in now["lb1"].servers.values()} == {Admin.READY}
    assert {name for name, server in now["lb2"].servers.items() if server.admin is Admin.DRAIN} == {"gpu1"}


def test_a_balancer_that_stops_answering_leaves_the_whole_batch_as_it_was_on_the_others(batch: Batch) -> None:
    batch.balancers.haproxies["lb2"].silent = lambda: True
    assert set(batch.drain().values()) == {False}
    assert {server.admin for server in batch.balancers.look(["lb1"])["lb1"].servers.values()} == {Admin.READY}


def test_hosts_of_different_groups_are_refused_for_themselves(batch: Batch, fleet: Fleet) -> None:
    """One host's group has lost another; the drain of the others is not held up by it."""
    for balancer in batch.balancers.haproxies.values():
        balancer.servers["lost"] = up("lost", health=Health.DOWN)
    free = Drain(30, together=("gpu2", "gpu1"))
    bound = Drain(30, together=("gpu2", "gpu1"), group={"gpu1": 1, "lost": 1})
    turns = [
        gevent.spawn(batch.balancers.drain, FakeHost(name), name, drain)
        for name, drain in (("gpu1", bound), ("gpu2", free))
    ]
    assert [turn.get(timeout=60) for turn in turns] == [False, True]
    assert any("lost out of rotation by now" in message for message in fleet.messages)
