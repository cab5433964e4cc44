"""A deploy of many hosts, a rolling upgrade of all of them under streaming load, and a host that fails on the way."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lab import topology
from lab.hosts import hosts
from tests.support.commands import Run
from tests.support.lab import LAB
from tests.support.light_fleet import BALANCER, LightFleet, asked, counted
from tests.support.load import Load, under_load
from tests.support.releases import Release, deploy

OUT = 2  # hosts at a time


def test_every_host_serves_after_the_first_deploy(fleet: LightFleet, first_deploy: Run) -> None:
    assert {*fleet.names, BALANCER} <= first_deploy.changed
    assert fleet.all_serve()
    assert len({release for release, _ in fleet.running().values()}) == 1


def test_a_second_deploy_changes_nothing_and_takes_few_executions(fleet: LightFleet, tmp_path: Path) -> None:
    before = fleet.running()
    result = tmp_path / "counts.json"
    again = fleet.timed("nothing to change", lambda: counted(result, LAB.inventory, "deploy.py", "-y"))
    assert (again.status, again.changed) == (0, set())
    assert fleet.running() == before
    counts = asked(result)
    balancer = counts.pop(topology.find(BALANCER).address)
    assert balancer.executions <= 2
    assert len(counts) == len(fleet.names)
    assert max(engine.executions for engine in counts.values()) <= 6
    assert min(one.commands for one in (balancer, *counts.values())) >= 5  # all that a run asks has been counted


def test_every_host_is_as_planned(fleet: LightFleet) -> None:
    assert fleet.timed("tests/verify", LAB.verify).status == 0


@pytest.fixture(scope="module")
def upgrade(fleet: LightFleet, release: Release) -> tuple[Run, Load]:
    """From what the inventory says to another image."""
    with under_load(balancers=[BALANCER]) as load:
        run = fleet.timed("rolling upgrade under load", lambda: deploy(release))
    return run, load


def test_a_rolling_upgrade_loses_no_request(fleet: LightFleet, release: Release, upgrade: tuple[Run, Load]) -> None:
    run, load = upgrade
    assert run.status == 0
    assert load.lost == []
    assert load.asked >= 600
    assert load.fewest[BALANCER] >= len(fleet.names) - OUT
    drained = [change.server for change in load.changes if change.state == "DRAIN"]
    assert sorted(drained) == sorted(fleet.names)  # each once
    pairs = [set(drained[place : place + OUT]) for place in range(0, len(drained), OUT)]
    assert pairs == [set(fleet.names[place : place + OUT]) for place in range(0, len(drained), OUT)]
    assert fleet.all_serve(release)


def test_a_host_that_fails_stops_the_rollout_and_leaves_the_rest_alone(
    fleet: LightFleet, release: Release, upgrade: tuple[Run, Load]
) -> None:
    """The fourth of them: the second of the second batch."""
    bad = release.but(
        evaluation=["sh", "-c", "test $BAREWIND_HOST != light4"], engine_args={"enforce-eager": True, "seed": 7}
    )
    before = fleet.running()
    with under_load(balancers=[BALANCER], least=100) as load:
        failed = fleet.timed("rollout that stops at the fourth host", lambda: deploy(bad))
    assert failed.status != 0
    assert load.lost == []
    assert re.search(r"light4\b.*evaluation", failed.output)
    after = fleet.running()
    assert {name for name in fleet.names if after[name] != before[name]} == {"light1", "light2", "light3", "light4"}
    assert fleet.serving() == set(fleet.names) - {"light4"}
    assert fleet.timed("the good release again", lambda: deploy(release)).status == 0
    assert fleet.all_serve(release)


@pytest.mark.full
def test_hosts_that_lose_their_power_return_by_themselves(fleet: LightFleet, release: Release) -> None:
    for name in ("light2", "light5"):
        hosts.stop(name)
        hosts.start(name)
    again = deploy(release)
    assert again.status == 0
    assert fleet.all_serve(release)
