"""What a run works out once and remembers, and that the next run knows nothing of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gevent
import pytest
from pyinfra.api.exceptions import PyinfraError
from pyinfra.context import ctx_state
from pyinfra_testing.util import FakeState

from barewind.tasks.run import Run, TimedFacts, once


@pytest.fixture
def state() -> Iterator[None]:
    with ctx_state.use(FakeState()):
        yield


class Plan:
    """Something to work out, and how often it was."""

    def __init__(self, *errors: Exception) -> None:
        self.times = 0
        self._errors = list(errors)

    def make(self) -> int:
        self.times += 1
        gevent.sleep(0)  # let the other hosts have their turn
        if self._errors:
            raise self._errors.pop()
        return self.times


@pytest.mark.usefixtures("state")
def test_hosts_side_by_side_work_it_out_once() -> None:
    plan = Plan()
    make = once(plan.make)
    hosts = [gevent.spawn(make) for _ in range(5)]
    gevent.joinall(hosts)
    assert [host.value for host in hosts] == [1, 1, 1, 1, 1]


@pytest.mark.usefixtures("state")
def test_every_host_gets_the_error_of_the_first() -> None:
    plan = Plan(PyinfraError("nothing was changed"))
    make = once(plan.make)
    for _ in range(3):
        with pytest.raises(PyinfraError, match="nothing was changed"):
            make()
    assert plan.times == 1


@pytest.mark.usefixtures("state")
def test_one_step_can_ask_for_another() -> None:
    first, second = Plan(), Plan()
    make = once(first.make)
    assert once(lambda: make() + second.make())() == 2


def test_another_run_of_the_same_process_starts_anew() -> None:
    plan = Plan()
    make = once(plan.make)
    with ctx_state.use(FakeState()):
        run = Run.current()
        run.lease = object()  # type: ignore[assignment] - whatever was taken
        assert (make(), make()) == (1, 1)
        assert Run.current() is run
    with ctx_state.use(FakeState()):
        assert make() == 2
        assert Run.current().lease is None


def facts(**engine: Any) -> TimedFacts:
    return TimedFacts({"engines": [{"active": True, "release": "0123456789ab"} | engine], "drained": None}, 0)


@pytest.mark.parametrize(
    ("known", "active", "running"),
    [
        (facts(), True, "0123456789ab"),
        (facts(active=False), False, None),
        (facts(release=None), True, None),
        (facts(release=""), True, None),
        (TimedFacts(None, 0), None, None),
    ],
)
def test_what_an_engine_was_seen_to_run(known: TimedFacts, active: bool | None, running: str | None) -> None:
    assert (known.active(None), known.running(None), known.maintenance) == (active, running, None)
