"""Waiting: how often something is looked at, when a wait is given up, and what the user is told meanwhile."""

from __future__ import annotations

from math import inf

import pytest

from barewind.hosts.poll import Poll
from tests.support.clock import Clock, keep_time

LOOKS = [
    # interval, limit, seconds that each look takes -> when the looks were, when it was given up
    pytest.param(2, 6, 0, [0, 2, 4, 6], 6, id="the last look comes when the limit is over"),
    pytest.param(4, 6, 0, [0, 4, 6], 6, id="the last pause is as long as what is left"),
    pytest.param(4, 3, 0, [0, 3], 3, id="an interval longer than the limit"),
    pytest.param(2, 0, 0, [0], 0, id="no time at all is one look"),
    pytest.param(2, 6, 5, [0, 6], 11, id="looks that take time"),
    pytest.param(2, 6, 7, [0], 7, id="a look that outlasts the limit was the last"),
]


@pytest.mark.parametrize(("interval", "limit", "slow", "looks", "ended"), LOOKS)
def test_a_loop_that_looks_first(interval: float, limit: float, slow: float, looks: list[float], ended: float) -> None:
    clock, looked = Clock(), []
    poll = Poll(interval, limit, clock=clock, pauser=clock.pause)
    while True:
        looked.append(clock.now)
        clock.now += slow
        if not poll.pause():
            break
    assert (looked, clock.now, poll.left) == (looks, ended, 0)


def test_a_loop_that_pauses_first() -> None:
    clock, looked = Clock(), []
    poll = Poll(2, 5, clock=clock, pauser=clock.pause)
    while poll.pause():
        looked.append((poll.waited, poll.left))
    assert looked == [(2, 3), (4, 1), (5, 0)]


def test_without_a_limit_it_is_never_given_up_and_a_pause_can_be_shorter() -> None:
    clock = Clock()
    poll = Poll(2, clock=clock, pauser=clock.pause)
    assert all(poll.pause(at_most) for at_most in (inf, 0.2, 9))
    assert (clock.pauses, poll.left) == ([2, 0.2, 2], inf)


@pytest.mark.parametrize(
    ("at_once", "logged"),
    [(False, [20, 40]), (True, [0, 20, 40])],
)
def test_messages_come_now_and_then(at_once: bool, logged: list[float]) -> None:
    clock, messages = Clock(), list[str]()
    poll = Poll(5, 48, log=messages.append, log_at_once=at_once, clock=clock, pauser=clock.pause)
    outcomes = [poll.log(f"{poll.waited:.0f}")]
    while poll.pause():
        outcomes.append(poll.log(f"{poll.waited:.0f}"))
    assert [float(message) for message in messages] == logged
    assert outcomes.count(True) == len(logged), "the caller knows which of them were logged"


def test_a_wait_that_tells_nobody() -> None:
    assert not Poll(1, log_at_once=True, clock=Clock()).log("something")


def test_waits_inside_of_what_is_tested_go_by_the_clock_of_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    keep_time(monkeypatch, clock, clock.pause)
    poll = Poll(1000, 1500)
    assert [poll.pause(), poll.pause(), poll.pause()] == [True, True, False]
    assert clock.now == 1500
