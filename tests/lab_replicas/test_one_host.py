"""A single host with four engines: how it gets them, and upgrades of it under streaming load that nobody notices."""

from __future__ import annotations

import pytest

from lab.hosts import hosts
from tests.support.commands import Run, command, data
from tests.support.lab import LAB, started
from tests.support.load import Load, under_load
from tests.support.releases import Release, deploy, run
from tests.support.replicas import BALANCER, COUNT, HOST, cards, names, releases, states
from tests.support.simulated import NEW

ENGINES = names(HOST, COUNT)
UNITS = [f"barewind-engine@{number}.service" for number in range(COUNT)]


def test_another_number_of_engines_is_refused_while_the_host_serves(release: Release) -> None:
    before = started(HOST)
    refused = deploy(release)
    assert refused.status != 0
    assert "barewind-engine.service would leave" in refused.output
    assert started(HOST) == before
    assert states() == {HOST: "UP"}


@pytest.fixture(scope="module")
def four(release: Release) -> Run:
    """The way that the refusal tells: drained as it was, deployed as it shall be, undrained."""
    drained = LAB.pyinfra("tasks/drain.py", *data(allow_downtime=True, nvidia_driver=NEW))
    assert drained.status == 0
    deployed = deploy(release)
    assert deployed.status == 0
    assert run("tasks/undrain.py", release).status == 0
    return deployed


def test_a_host_goes_from_one_engine_to_four(four: Run, release: Release) -> None:
    assert releases(HOST, COUNT) == [release.id] * COUNT
    assert states() == dict.fromkeys(ENGINES, "UP")
    assert hosts.exec(HOST, "systemctl cat barewind-engine.service", check=False).returncode != 0


def test_each_has_accelerators_of_its_own(four: Run) -> None:
    parts = [cards(HOST, number) for number in range(COUNT)]
    assert [len(part) for part in parts] == [2] * COUNT
    assert len(set.union(*parts)) == 8


def test_every_engine_is_as_planned(four: Run, release: Release) -> None:
    verified = command("barewind", "verify", LAB.inventory, *release.options)
    assert verified.status == 0, verified.output
    status = command("barewind", "status", LAB.inventory, *release.options)
    assert status.status == 0
    assert all(name in status.output for name in ("hopper1-0", "hopper1-3"))


def test_a_second_deploy_changes_nothing(four: Run, release: Release) -> None:
    before = [started(HOST, unit) for unit in UNITS]
    again = deploy(release)
    assert (again.status, again.changed) == (0, set())
    assert [started(HOST, unit) for unit in UNITS] == before


@pytest.fixture(scope="module")
def upgrade(four: Run, other: Release) -> tuple[Run, Load]:
    """From one image to the other."""
    with under_load(balancers=[BALANCER]) as load:
        upgraded = deploy(other)
    return upgraded, load


def test_an_upgrade_of_the_only_host_loses_no_request(upgrade: tuple[Run, Load], other: Release) -> None:
    upgraded, load = upgrade
    assert upgraded.status == 0
    assert load.lost == []
    assert load.asked >= 600
    assert load.fewest[BALANCER] == COUNT - 1
    drained = [change.server for change in load.changes if change.state == "DRAIN"]
    assert drained == ENGINES  # one after the other
    assert releases(HOST, COUNT) == [other.id] * COUNT


def test_an_engine_that_fails_leaves_its_siblings_alone(upgrade: tuple[Run, Load], other: Release) -> None:
    bad = other.but(evaluation=["sh", "-c", "test $BAREWIND_HOST != hopper1-1"], engine_args={"seed": 7})
    before = [started(HOST, unit) for unit in UNITS]
    with under_load(balancers=[BALANCER], least=100) as load:
        failed = deploy(bad)
        assert failed.status != 0
        assert states() == dict.fromkeys(ENGINES, "UP") | {"hopper1-1": "DRAIN"}
        after = [started(HOST, unit) for unit in UNITS]
        back = run("tasks/rollback.py", other)
    assert [new == old for new, old in zip(after, before, strict=True)] == [False, False, True, True]
    assert load.lost == []
    assert load.fewest[BALANCER] >= COUNT - 1  # the one that failed comes back before another is rolled back
    assert back.status == 0
    assert releases(HOST, COUNT) == [other.id] * COUNT
    assert states() == dict.fromkeys(ENGINES, "UP")


def test_an_engine_that_is_killed_degrades_its_host_and_comes_back(upgrade: tuple[Run, Load], other: Release) -> None:
    hosts.exec(HOST, "systemctl stop barewind-engine@2.service")
    status = command("barewind", "status", LAB.inventory, *other.options)
    assert status.status == 1
    assert "hopper1-2" in status.output
    mended = deploy(other)
    assert mended.status == 0
    assert states() == dict.fromkeys(ENGINES, "UP")
    assert releases(HOST, COUNT) == [other.id] * COUNT


def test_other_accelerators_are_taken_by_all_engines_of_a_host_at_once(
    upgrade: tuple[Run, Load], other: Release
) -> None:
    half = other.but(tensor_parallel_size=1, allow_downtime=True)
    assert deploy(half.but(accelerators=[0, 1, 2, 3])).status == 0
    before = [cards(HOST, number) for number in range(COUNT)]
    moved = half.but(accelerators=[4, 5, 6, 7])
    assert moved.id == half.but(accelerators=[0, 1, 2, 3]).id
    deployed = deploy(moved)
    assert deployed.status == 0
    assert f"{HOST}-0: accelerators 0,1,2,3 -> 4,5,6,7" in deployed.output
    after = [cards(HOST, number) for number in range(COUNT)]
    assert [len(part) for part in (*before, *after)] == [1] * COUNT * 2
    assert set.union(*before).isdisjoint(set.union(*after))
    assert states() == dict.fromkeys(ENGINES, "UP")
    again = deploy(moved)
    assert (again.status, again.changed) == (0, set())
