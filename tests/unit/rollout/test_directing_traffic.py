"""Traffic that is directed to a group in steps, on balancers that do as HAProxy does; the clock is the test's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from barewind.balancer.commands import Health
from barewind.rollout.canary import Counted
from barewind.rollout.operations import traffic
from barewind.rollout.traffic import Traffic
from tests.support.balancers import FakeBalancers, FakeHost, Haproxy, up
from tests.support.clock import Clock, keep_time

TO_GREEN = Traffic(group="green", to=("c",), others=("a",), counted=("a",), shares=(10, 100), seconds=60)


@dataclass
class Fleet:
    """Two balancers, each of two servers."""

    host: FakeHost = field(default_factory=lambda: FakeHost("c"))
    clock: Clock = field(default_factory=Clock)
    balancers: FakeBalancers = field(default_factory=lambda: FakeBalancers(lb1=_haproxy(), lb2=_haproxy()))
    meanwhile: Callable[[float], None] = lambda _: None

    def pause(self, seconds: float) -> None:
        self.clock.pause(seconds)
        self.meanwhile(self.clock.now)

    @property
    def messages(self) -> list[str]:
        return self.host.messages

    def haproxy(self, name: str) -> Haproxy:
        return self.balancers.haproxies[name]

    def silence(self, name: str) -> None:
        self.haproxy(name).silent = lambda: True

    def weights(self) -> list[tuple[int, int]]:
        return [
            (haproxy.servers["a"].weight, haproxy.servers["c"].weight) for haproxy in self.balancers.haproxies.values()
        ]

    def direct(self, wanted: Traffic = TO_GREEN) -> bool:
        return traffic.direct_traffic(None, self.host, wanted, self.balancers)  # type: ignore[arg-type]


def _haproxy() -> Haproxy:
    return Haproxy({"a": up("a"), "c": up("c", weight=0)}, counters=lambda: _counters(0))


def _counters(failed: int) -> dict[str, Counted]:
    return {"a": Counted(999, 0), "c": Counted(99, failed)}


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> Fleet:
    fleet = Fleet()
    keep_time(monkeypatch, fleet.clock, fleet.pause)
    monkeypatch.setattr(traffic.logger, "error", fleet.messages.append)
    return fleet


def test_every_balancer_takes_every_step_and_the_last_is_not_waited_for(fleet: Fleet) -> None:
    seen = []
    fleet.meanwhile = lambda _: seen.extend(fleet.weights())
    assert fleet.direct()
    assert fleet.clock.now == 60
    assert set(seen) == {(99, 11)}
    assert fleet.weights() == [(0, 100), (0, 100)]
    assert fleet.messages == [
        "10 % to green",
        "green has served well for 60 s: 0 of 0 requests failed on c, 0 of 0 on the others",
        "100 % to green",
    ]


def test_requests_that_fail_take_the_step_back_and_end_it(fleet: Fleet) -> None:
    fleet.haproxy("lb2").counters = lambda: _counters(9 if fleet.clock.now > 20 else 0)
    assert not fleet.direct()
    assert fleet.clock.now == 25
    assert fleet.weights() == [(100, 0), (100, 0)]
    assert "9 of 0 requests failed on c, 0 of 0 on the others; every weight is set to what" in fleet.messages[-1]


def test_a_later_step_is_taken_back_to_the_one_before(fleet: Fleet) -> None:
    fleet.meanwhile = lambda now: fleet.haproxy("lb1").change("c", health=Health.DOWN if now > 60 else Health.UP)
    assert not fleet.direct(Traffic("green", ("c",), ("a",), ("a",), (10, 50, 100), 60))
    assert fleet.clock.now == 75  # one look can be unlucky, three are not
    assert fleet.weights() == [(99, 11), (99, 11)]
    assert "c is down on lb1; every weight is set to what it was before" in fleet.messages[-1]


def test_a_balancer_that_cannot_be_told_keeps_the_others_as_they_were(fleet: Fleet) -> None:
    fleet.haproxy("lb1").change("a", weight=90)
    fleet.haproxy("lb1").change("c", weight=10)
    fleet.meanwhile = lambda _: fleet.silence("lb2")
    assert not fleet.direct(Traffic("green", ("c",), ("a",), ("a",), (20, 100), 60))
    assert fleet.weights() == [(90, 10), (100, 25)]
    assert "lb2: the balancer does not answer" in fleet.messages[-1]


def test_without_a_balancer_that_answers_nothing_happens(fleet: Fleet) -> None:
    fleet.silence("lb2")
    assert not fleet.direct()
    assert fleet.weights() == [(100, 0), (100, 0)]
    assert fleet.messages == ["c: lb2: the balancer does not answer (no route to host)"]
