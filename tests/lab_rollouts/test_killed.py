"""A controller that is killed, at every step of a rollout: the next run goes on. Two runs at once."""

from __future__ import annotations

import re

from lab import wait
from tests.lab.conftest import started
from tests.lab_rollouts.conftest import Fleet
from tests.lab_rollouts.fleet import BALANCERS, ENGINES, UNIT, Begun, agreed, deploy, limit, there
from tests.lab_rollouts.load import Stream, under_load

# What a rollout of one host prints, in its order.
STEPS = (
    "batch 1 of 1",
    "Image | By digest",
    "Weights | Of model and draft",
    "Everything is in place",
    "Rotation | Batch 1 of 1: leave the balancers",
    "Docker | Engine",
    "Compile cache | Of a host that has compiled it",
    "History | On record",
    "Engine | Unit",
    "Gate | Engine answers",
    "History | It serves",
    "Rotation | Batch 1 of 1: return to the balancers",
    "The batch serves",
    "Balancer | HAProxy",
    "Image | Of earlier releases",
    "Gate | Endpoint answers",
)
_LIMIT = limit("engine1", "lb1", "lb2")


def test_a_controller_killed_at_every_step(fleet: Fleet) -> None:
    """Each run finds what the one before has left, gets one step further, and is killed there; the last comes to its end."""
    target, after = fleet.other, fleet.serves
    with under_load() as load:
        for step in STEPS:
            begun = Begun("deploy.py", target, *_LIMIT)
            if not begun.says(step):  # the one before had come so far that this step had nothing to do any more
                assert begun.end().status == 0
                target, after = after, target
                begun = Begun("deploy.py", target, *_LIMIT)
                assert begun.says(step)
            begun.kill()
            print(f"killed at: {step}")
            assert load.lost == []
        assert deploy(target, *_LIMIT).status == 0
    assert load.lost == []
    assert min(load.fewest.values()) >= 2
    found = agreed(target)
    assert found.serves("engine1", target)
    assert all(found.using(name) == {"UP"} for name in ENGINES)


def test_the_list_has_every_step(fleet: Fleet) -> None:
    run = deploy(fleet.other, *_LIMIT)
    assert run.status == 0
    steps = re.findall(r"Starting operation: (.*\S)", run.output)
    assert [step for step in steps if not any(known in step for known in STEPS)] == []


def test_of_two_runs_at_once_the_second_is_refused(fleet: Fleet) -> None:
    with under_load() as load:
        first = Begun("deploy.py", fleet.other, *limit("engine1"))
        assert first.says("Starting operation")
        second = deploy(fleet.other, *limit("engine2"))
        done = first.end()
    assert done.status == 0
    assert second.status != 0
    assert second.changed == set()
    assert "nothing was changed" in second.output
    assert load.lost == []
    found = agreed(fleet.other)
    assert found.serves("engine1", fleet.other)
    assert found.serves("engine2", fleet.serves)


def test_ctrl_c_puts_a_host_back_that_waits_for_its_requests(fleet: Fleet) -> None:
    before = started("engine1", f"{UNIT}.service")
    long = [Stream(name, 400) for _ in ENGINES for name in BALANCERS]
    with under_load() as load:
        begun = Begun("deploy.py", fleet.other)
        assert begun.says("Batch 1 of 3: leave the balancers")
        wait.until(lambda: there().using("engine1") == {"DRAIN"}, 20, "engine1 is not drained")
        run = begun.interrupt()
    assert run.status != 0
    assert load.lost == []
    assert all(one.whole() for one in long)
    found = agreed(fleet.serves)
    assert all(found.serves(name, fleet.serves) for name in ENGINES)
    assert started("engine1", f"{UNIT}.service") == before
