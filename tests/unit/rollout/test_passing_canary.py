"""A canary under real traffic: what ends it, what is forgiven; hosts answer as they do, and the clock is the test's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from barewind.gate import plan as gates
from barewind.hosts.shell import Answer
from barewind.plan.engine import plan_host
from barewind.rollout import canary as counting
from barewind.rollout.canary import Counted
from barewind.rollout.operations import canary
from tests.support.balancers import FakeBalancers, FakeHost, haproxy
from tests.support.clock import Clock, keep_time
from tests.support.factories import engine_spec, locked

SPEC = engine_spec(host="gpu1")
PLAN = plan_host(SPEC, locked(SPEC))
ACTIVE = "ActiveState=active\nNRestarts=0\n"


@dataclass
class Canary:
    """A host under traffic, and its balancer: what they say at each time."""

    unit: Callable[[float], str] = lambda _: ACTIVE
    failed: Callable[[float], int] = lambda _: 0
    healthy: Callable[[float], bool] = lambda _: True
    silent: Callable[[float], bool] = lambda _: False  # the balancer
    host: FakeHost = field(default_factory=FakeHost)
    clock: Clock = field(default_factory=Clock)
    asked: list[str] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        return self.clock.now

    @property
    def messages(self) -> list[str]:
        return self.host.messages

    def run(self, state: object, host: object, command: str) -> Answer:
        del state, host
        self.asked.append(command)
        if "systemctl show" in command:
            unit = self.unit(self.seconds)
            return Answer(unit, "" if unit else "no route to host")
        return Answer("", "" if self.healthy(self.seconds) else "503")

    def counters(self) -> dict[str, Counted]:
        requests = int(self.seconds)
        return {"gpu1": Counted(requests, self.failed(self.seconds)), "gpu2": Counted(requests, 0)}


Passing = Callable[..., tuple[bool, Canary]]


@pytest.fixture
def passing(monkeypatch: pytest.MonkeyPatch) -> Passing:
    """Whether a canary passes, and what was said."""

    def play(**values: Any) -> tuple[bool, Canary]:
        made = Canary(**values)
        keep_time(monkeypatch, made.clock, made.clock.pause)
        monkeypatch.setattr(canary, "run", made.run)
        monkeypatch.setattr(canary.logger, "error", made.messages.append)
        lb1 = haproxy("gpu1", "gpu2", counters=made.counters, silent=lambda: made.silent(made.seconds))
        gate = gates.of(PLAN)
        return canary.pass_canary(None, made.host, FakeBalancers(lb1=lb1), 600, gate), made  # type: ignore[arg-type]

    return play


def test_a_canary_that_does_well_takes_its_whole_time(passing: Passing) -> None:
    good, made = passing()
    assert good
    assert made.seconds == 600
    assert "0 of 600 requests failed on gpu1, 0 of 600 on the others" in made.messages[-1]


def test_a_restart_is_seen_at_once(passing: Passing) -> None:
    good, made = passing(unit=lambda now: f"ActiveState=active\nNRestarts={int(now > 60)}\n")
    assert not good
    assert made.seconds == 65
    assert (
        "its unit was at ActiveState=active NRestarts=0, and is at ActiveState=active NRestarts=1" in made.messages[-1]
    )
    assert any('"failed"' in command for command in made.asked)


def test_errors_are_seen_at_once(passing: Passing) -> None:
    good, made = passing(failed=lambda now: int(now > 100) * 10)
    assert not good
    assert made.seconds == 105
    assert "10 of 105 requests failed on gpu1" in made.messages[-1]


def test_one_late_health_check_is_forgiven_three_are_not(passing: Passing) -> None:
    assert passing(healthy=lambda now: now != 50)[0]
    good, made = passing(healthy=lambda now: now < 50)
    assert not good
    assert made.seconds == 60


def test_a_host_that_cannot_be_asked_for_a_moment_is_forgiven(passing: Passing) -> None:
    assert passing(unit=lambda now: "" if now == 50 else ACTIVE)[0]


@pytest.mark.parametrize("first", [0, 50, 600])
def test_a_balancer_that_does_not_answer_twice_is_forgiven(passing: Passing, first: int) -> None:
    good, made = passing(silent=lambda now: first <= now <= first + 5)
    assert good
    assert made.seconds == max(600, first + 10)  # it does not end on a look that has found out nothing


@pytest.mark.parametrize("first", [0, 50])
def test_a_balancer_that_goes_on_not_answering_is_not(passing: Passing, first: int) -> None:
    good, made = passing(silent=lambda now: now >= first)
    assert not good
    assert made.seconds == first + 10
    assert "lb1: " in made.messages[-1]
    assert "(no route to host); 3 looks in a row" in made.messages[-1]


def test_a_host_that_does_not_answer_at_the_first_look_is_asked_again(passing: Passing) -> None:
    assert passing(unit=lambda now: "" if now < 10 else ACTIVE)[0]
    good, made = passing(unit=lambda _: "")
    assert not good
    assert "its host does not say how its unit is (no route to host); 3 looks in a row" in made.messages[-1]


def test_the_counters_are_asked_of_the_current_process() -> None:
    assert "show stat engines 4 -1" in counting.COUNTERS
    assert counting.SOCKET in counting.COUNTERS
