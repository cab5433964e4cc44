"""An upgrade under load, the way back, the same without any care, and changes of HAProxy itself."""

from __future__ import annotations

import re

import pytest

from lab import wait
from lab.hosts import hosts
from tests.support.commands import Run, data
from tests.support.fleet import BALANCERS, Fleet, agreed, observe
from tests.support.load import Load, under_load
from tests.support.releases import deploy, run


@pytest.fixture(scope="module")
def upgrade(deployed: Fleet) -> tuple[Run, Load]:
    """From one release to the other."""
    if not deployed.in_order():
        deployed.repair()
    with under_load() as load:
        upgraded = deploy(deployed.other)
    if upgraded.status == 0:
        deployed.swap()
    return upgraded, load


def test_a_rolling_upgrade_loses_no_request(upgrade: tuple[Run, Load], deployed: Fleet) -> None:
    upgraded, load = upgrade
    assert upgraded.status == 0
    assert load.lost == []
    assert load.asked >= 600
    assert min(load.fewest.values()) >= 2
    assert re.findall(r"Starting operation: Rotation \| Batch (\d) of 3: drain", upgraded.output) == ["1", "2", "3"]
    assert agreed(deployed.release).all_serve(deployed.release)


def test_a_second_run_changes_nothing(upgrade: tuple[Run, Load], fleet: Fleet) -> None:
    again = deploy(fleet.release)
    assert again.status == 0
    assert again.changed == set()


def test_one_command_goes_back_after_a_good_rollout(upgrade: tuple[Run, Load], fleet: Fleet) -> None:
    with under_load() as load:
        back = run("tasks/rollback.py", fleet.release)
    assert back.status == 0
    assert load.lost == []
    assert min(load.fewest.values()) >= 2
    assert agreed(fleet.other).all_serve(fleet.other)
    fleet.swap()


def test_reloads_of_haproxy_lose_nothing(fleet: Fleet) -> None:
    """By a deploy that changes its configuration, by the package's own upgrade, by hand."""
    with under_load() as load:
        changed = deploy(fleet.release, *data(queue_timeout=61))
        for name in BALANCERS:
            hosts.exec(name, "DEBIAN_FRONTEND=noninteractive dpkg-reconfigure haproxy")
            hosts.exec(name, "systemctl reload haproxy")
        assert deploy(fleet.release).status == 0
    assert changed.status == 0
    assert changed.changed == set(BALANCERS)
    assert load.lost == []
    assert agreed(fleet.release).all_serve(fleet.release)


def test_a_bad_configuration_does_not_replace_the_good_one(fleet: Fleet) -> None:
    with under_load() as load:
        hosts.exec("lb1", "echo 'no such keyword' >> /etc/haproxy/haproxy.cfg")
        assert hosts.exec("lb1", "systemctl reload haproxy", check=False).returncode != 0
        mended = deploy(fleet.release)
    assert mended.status == 0
    assert mended.changed == {"lb1"}
    assert load.lost == []


def test_a_restart_of_one_balancer_is_not_noticed_at_the_other_and_brings_nobody_back(fleet: Fleet) -> None:
    assert run("tasks/drain.py", fleet.release, "--limit", "engine3").status == 0
    with under_load(balancers=["lb1"]) as load:
        for what in ("systemctl restart haproxy", "systemctl kill -s KILL haproxy"):
            hosts.exec("lb2", what)
            wait.until(_back_without_engine3, 120, "lb2 does not balance")
        assert run("tasks/undrain.py", fleet.release).status == 0
    assert load.lost == []
    assert agreed(fleet.release).all_serve(fleet.release)


def _back_without_engine3() -> bool:
    """Whether lb2 balances; it must not send engine3 anything, also while its health checks have not ended."""
    states = observe().servers["lb2"]
    assert states.get("engine3") in (None, "DOWN", "DRAIN")
    return states == {"engine1": "UP", "engine2": "UP", "engine3": "DRAIN"}
