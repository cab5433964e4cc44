"""Traffic that moves in steps, against balancers that do as HAProxy does; the clock is the test's."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from barewind.balancer import Admin, Health, Rotation, Server, Worker
from barewind.canary import Counted
from barewind.errors import BarewindError
from barewind.operations import rotation, traffic
from barewind.traffic import Move

MOVE = Move(group="green", to=("c",), others=("a",), counted=1, shares=(10, 100), seconds=60)


@dataclass
class Balancer:
    """One HAProxy of two servers, and what became of the new one's requests."""

    weights: dict[str, int] = field(default_factory=lambda: {"a": 100, "c": 0})
    failed: int = 0
    health: Health = Health.UP
    silent: bool = False

    def answer(self, command: str) -> Rotation:
        if self.silent:
            raise BarewindError("lb2: the balancer does not answer (no route to host)")
        self.weights |= {name: int(weight) for name, weight in re.findall(r"engines/(\w+) weight (\d+)", command)}
        made = {name: Server(name, Admin.READY, Health.UP, 0, 0, weight) for name, weight in self.weights.items()}
        made["c"] = Server("c", Admin.READY, self.health, 0, 0, self.weights["c"])
        return Rotation((Worker(12, True, made),))


@dataclass
class Fleet:
    """The state that operations get, and the host in hand."""

    balancers: dict[str, Balancer]
    said: list[str] = field(default_factory=list)
    clock: float = 0
    meanwhile: Callable[[float], None] = lambda _: None
    name: str = "c"
    print_prefix: str = ""

    def log(self, text: str) -> None:
        self.said.append(text)

    def weights(self) -> list[tuple[int, int]]:
        return [(one.weights["a"], one.weights["c"]) for one in self.balancers.values()]

    def shift(self, move: Move = MOVE) -> bool:
        return traffic.shift(self, self, move, sorted(self.balancers))  # type: ignore[arg-type]


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> Fleet:
    made = Fleet({"lb1": Balancer(), "lb2": Balancer()})

    def sleep(seconds: float) -> None:
        made.clock += seconds
        made.meanwhile(made.clock)

    def ask(state: Any, names: list[str], command: str, read: Any) -> dict[str, Rotation]:
        return {name: made.balancers[name].answer(command) for name in names}

    def counted(state: Any, names: list[str]) -> dict[str, dict[str, Counted]]:
        return {name: {"a": Counted(999, 0), "c": Counted(99, made.balancers[name].failed)} for name in names}

    monkeypatch.setattr(rotation, "_ask", ask)
    monkeypatch.setattr(traffic, "counted", counted)
    monkeypatch.setattr(traffic, "monotonic", lambda: made.clock)
    monkeypatch.setattr(traffic.gevent, "sleep", sleep)
    monkeypatch.setattr(traffic.logger, "error", made.said.append)
    return made


def test_every_balancer_takes_every_step_and_the_last_is_not_waited_for(fleet: Fleet) -> None:
    seen = []
    fleet.meanwhile = lambda _: seen.extend(fleet.weights())
    assert fleet.shift()
    assert fleet.clock == 60
    assert set(seen) == {(99, 11)}
    assert fleet.weights() == [(0, 100), (0, 100)]
    assert fleet.said == [
        "10 % to green",
        "green has served well for 60 s: 0 of 0 requests failed on c, 0 of 0 on the others",
        "100 % to green",
    ]


def test_requests_that_fail_take_the_step_back_and_end_it(fleet: Fleet) -> None:
    def meanwhile(clock: float) -> None:
        fleet.balancers["lb2"].failed = 9 if clock > 20 else 0

    fleet.meanwhile = meanwhile
    assert not fleet.shift()
    assert fleet.clock == 25
    assert fleet.weights() == [(100, 0), (100, 0)]
    assert "9 of 0 requests failed on c, 0 of 0 on the others; every weight goes back" in fleet.said[-1]


def test_a_later_step_goes_back_to_the_one_before(fleet: Fleet) -> None:
    fleet.meanwhile = lambda clock: setattr(fleet.balancers["lb1"], "health", Health.DOWN if clock > 60 else Health.UP)
    assert not fleet.shift(Move("green", ("c",), ("a",), 1, (10, 50, 100), 60))
    assert fleet.clock == 75  # one look can be unlucky, three are not
    assert fleet.weights() == [(99, 11), (99, 11)]
    assert "c is down on lb1; every weight goes back to what it was before" in fleet.said[-1]


def test_a_balancer_that_cannot_be_told_keeps_the_others_as_they_were(fleet: Fleet) -> None:
    fleet.balancers["lb1"].weights = {"a": 90, "c": 10}
    fleet.meanwhile = lambda _: setattr(fleet.balancers["lb2"], "silent", True)
    assert not fleet.shift(Move("green", ("c",), ("a",), 1, (20, 100), 60))
    assert fleet.weights() == [(90, 10), (100, 25)]
    assert "lb2: the balancer does not answer" in fleet.said[-1]


def test_without_a_balancer_that_answers_nothing_happens(fleet: Fleet) -> None:
    fleet.balancers["lb2"].silent = True
    assert not fleet.shift()
    assert fleet.weights() == [(100, 0), (100, 0)]
    assert fleet.said == ["c: lb2: the balancer does not answer (no route to host)"]
