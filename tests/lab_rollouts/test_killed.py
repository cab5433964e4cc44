"""A controller that is killed, at every step of a rollout: the next run goes on. Two runs at once."""

from __future__ import annotations

import re

import pytest

from lab import wait
from tests.support.commands import limit
from tests.support.fleet import BALANCERS, ENGINES, Fleet, agreed, observe
from tests.support.lab import started
from tests.support.load import Stream, under_load
from tests.support.releases import begin, deploy

pytestmark = pytest.mark.full

# What a rollout of one host prints, in its order.
STEPS = (
    "batch 1 of 1",
    "Image | By digest",
    "Weights | Of model and draft",
    "Everything is in place",
    "Rotation | Batch 1 of 1: drain",
    "Docker | Engine",
    "Compile cache | Of a host that has compiled it",
    "History | On record",
    "Engine | Unit",
    "Gate | Engine answers",
    "Compile cache | Packed for other hosts",
    "History | It serves",
    "Rotation | Batch 1 of 1: undrain",
    "The batch serves",
    "Balancer | HAProxy",
    "Image | Of earlier releases",
    "Gate | Endpoint answers",
)
_LIMIT = [*limit("engine1", "lb1", "lb2"), "-v"]  # steps that change nothing are named too


def test_a_controller_killed_at_every_step(fleet: Fleet) -> None:
    """Each run finds what the one before has left, gets one step further, and is killed there; the last comes to its end."""
    target, after = fleet.other, fleet.release
    with under_load() as load:
        for step in STEPS:
            rollout = begin("deploy.py", target, *_LIMIT)
            if not rollout.prints(step):  # the one before had come so far that this step had nothing to do any more
                assert rollout.end().status == 0
                target, after = after, target
                rollout = begin("deploy.py", target, *_LIMIT)
                assert rollout.prints(step)
            rollout.kill()
            print(f"killed at: {step}")
            assert load.lost == []
        assert deploy(target, *_LIMIT).status == 0
    assert load.lost == []
    assert min(load.fewest.values()) >= 2
    state = agreed(target)
    assert state.serves("engine1", target)
    assert all(state.states_of(name) == {"UP"} for name in ENGINES)


def test_the_list_has_every_step(fleet: Fleet) -> None:
    run = deploy(fleet.other, *_LIMIT)
    assert run.status == 0
    steps = re.findall(r"Starting operation: (.*\S)", run.output)
    assert [step for step in steps if not any(known in step for known in STEPS)] == []


def test_of_two_runs_at_once_the_second_is_refused(fleet: Fleet) -> None:
    with under_load() as load:
        first = begin("deploy.py", fleet.other, *limit("engine1"))
        assert first.prints("Starting operation")
        second = deploy(fleet.other, *limit("engine2"))
        done = first.end()
    assert done.status == 0
    assert second.status != 0
    assert second.changed == set()
    assert "nothing was changed" in second.output
    assert load.lost == []
    state = agreed(fleet.other)
    assert state.serves("engine1", fleet.other)
    assert state.serves("engine2", fleet.release)


def test_ctrl_c_puts_a_host_back_that_waits_for_its_requests(fleet: Fleet) -> None:
    before = started("engine1")
    long = [Stream(name, 400) for _ in ENGINES for name in BALANCERS]
    with under_load() as load:
        rollout = begin("deploy.py", fleet.other)
        assert rollout.prints("Batch 1 of 3: drain")
        wait.until(lambda: observe().states_of("engine1") == {"DRAIN"}, 60, "engine1 is not drained")
        run = rollout.interrupt()
    assert run.status != 0
    assert load.lost == []
    assert all(stream.whole() for stream in long)
    state = agreed(fleet.release)
    assert state.all_serve(fleet.release)
    assert started("engine1") == before
