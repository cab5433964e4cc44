"""Wishes of hosts that come together: how many calls they make, who is in which, and whose error is whose."""

from __future__ import annotations

from collections.abc import Mapping

import gevent
import pytest
from gevent.event import Event

from barewind.balancer.operations.together import Together
from barewind.errors import BarewindError


class Calls:
    """What answers: notes who was in each call; holds a call until it may go on, and fails when told to."""

    def __init__(self) -> None:
        self.hosts: list[list[str]] = []
        self.may_end = Event()
        self.may_end.set()
        self.error = ""
        self.together: Together[int, str] = Together(self.answer)

    def answer(self, wishes: Mapping[str, int]) -> Mapping[str, str]:
        self.hosts.append(sorted(wishes))
        self.may_end.wait(60)
        if self.error:
            raise BarewindError(self.error)
        return {host: f"{host}={wish}" for host, wish in wishes.items()}

    def ask(self, *hosts: str, expected: tuple[str, ...] = ()) -> list[gevent.Greenlet]:
        return [gevent.spawn(self.together.ask, host, int(host[1:]), expected) for host in hosts]


@pytest.fixture
def calls() -> Calls:
    return Calls()


MANY = tuple(f"h{number}" for number in range(200))


def test_hosts_that_expect_each_other_are_in_one_call_and_each_has_its_own_answer(calls: Calls) -> None:
    asked = calls.ask(*MANY, expected=MANY)
    assert [one.get(timeout=60) for one in asked] == [f"{host}={host[1:]}" for host in MANY]
    assert calls.hosts == [sorted(MANY)]


def test_a_host_that_expects_nobody_does_not_wait(calls: Calls) -> None:
    assert calls.together.ask("h1", 7) == "h1=7"
    assert calls.hosts == [["h1"]]


def test_a_host_that_does_not_come_is_not_waited_for_long(calls: Calls) -> None:
    asked = calls.ask("h1", "h2", expected=("h1", "h2", "h3"))
    gevent.joinall(asked, timeout=60)
    assert [one.value for one in asked] == ["h1=1", "h2=2"]
    assert calls.hosts == [["h1", "h2"]]


def test_who_comes_after_a_call_has_begun_is_in_the_next_which_does_not_wait_for_it(calls: Calls) -> None:
    calls.may_end.clear()
    first = calls.ask("h1")
    gevent.sleep(0)
    gevent.sleep(0)
    assert calls.hosts == [["h1"]]
    second = calls.ask("h1", "h2", expected=("h1", "h2"))
    gevent.sleep(0)
    gevent.sleep(0)
    assert calls.hosts == [["h1"], ["h1", "h2"]]
    calls.may_end.set()
    gevent.joinall([*first, *second], timeout=60)
    assert [one.value for one in (*first, *second)] == ["h1=1", "h1=1", "h2=2"]


def test_the_error_of_a_call_is_that_of_each_host_in_it_and_of_no_later_one(calls: Calls) -> None:
    calls.error = "lb1 does not answer"
    for one in calls.ask("h1", "h2", expected=("h1", "h2")):
        with pytest.raises(BarewindError, match="lb1 does not answer"):
            one.get(timeout=60)
    calls.error = ""
    assert calls.together.ask("h1", 1) == "h1=1"


def test_who_is_killed_before_the_call_begins_is_not_in_it(calls: Calls) -> None:
    """After Ctrl-C nothing is drained any more that was only about to be."""
    gone, stays = calls.ask("h1", "h2", expected=("h1", "h2", "h3"))
    gevent.sleep(0)
    gone.kill()
    assert stays.get(timeout=60) == "h2=2"
    (alone,) = calls.ask("h4", expected=("h5",))
    gevent.sleep(0)
    alone.kill()
    gevent.sleep(0.05)
    assert calls.hosts == [["h2"]]
