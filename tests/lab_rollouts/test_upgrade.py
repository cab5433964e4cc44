"""An upgrade under load, the way back, the same without any care, and changes of HAProxy itself."""

from __future__ import annotations

import re

import pytest

from lab import hosts, wait
from tests.lab.conftest import Run
from tests.lab_rollouts.conftest import Fleet, mend
from tests.lab_rollouts.fleet import BALANCERS, ENGINES, UNIT, agreed, answers, data, deploy, run, settled, there
from tests.lab_rollouts.load import Load, under_load


@pytest.fixture(scope="module")
def upgrade(first: tuple[Fleet, Run]) -> tuple[Run, Load]:
    """From one release to the other."""
    fleet, first_deploy = first
    assert first_deploy.status == 0
    if not fleet.in_order():
        mend(fleet)
    with under_load() as load:
        upgraded = deploy(fleet.other)
    if upgraded.status == 0:
        fleet.swap()
    return upgraded, load


def test_a_rolling_upgrade_loses_no_request(upgrade: tuple[Run, Load], first: tuple[Fleet, Run]) -> None:
    upgraded, load = upgrade
    assert upgraded.status == 0
    assert load.lost == []
    assert load.asked >= 600
    assert min(load.fewest.values()) >= 2
    assert re.findall(r"Starting operation: Rotation \| Batch (\d) of 3: leave", upgraded.output) == ["1", "2", "3"]
    found = agreed(first[0].serves)
    assert all(found.serves(name, first[0].serves) for name in ENGINES)


def test_a_second_run_changes_nothing(upgrade: tuple[Run, Load], fleet: Fleet) -> None:
    again = deploy(fleet.serves)
    assert again.status == 0
    assert again.changed == set()


def test_one_command_goes_back_after_a_good_rollout(upgrade: tuple[Run, Load], fleet: Fleet) -> None:
    with under_load() as load:
        back = run("tasks/rollback.py", fleet.serves)
    assert back.status == 0
    assert load.lost == []
    assert min(load.fewest.values()) >= 2
    found = agreed(fleet.other)
    assert all(found.serves(name, fleet.other) for name in ENGINES)
    fleet.swap()


def test_restarts_without_draining_do_lose_requests(fleet: Fleet) -> None:
    """For contrast: engine by engine, each waited for, with the engine's own time to end its requests."""
    with under_load() as load:
        for name in ENGINES:
            hosts.exec(name, f"systemctl restart {UNIT}")
            answers(name)
    assert load.lost
    assert all(settled().serves(name, fleet.serves) for name in ENGINES)


def test_reloads_of_haproxy_lose_nothing(fleet: Fleet) -> None:
    """By a deploy that changes its configuration, by the package's own upgrade, by hand."""
    with under_load() as load:
        changed = deploy(fleet.serves, *data(queue_timeout=61))
        for name in BALANCERS:
            hosts.exec(name, "DEBIAN_FRONTEND=noninteractive dpkg-reconfigure haproxy")
            hosts.exec(name, "systemctl reload haproxy")
        assert deploy(fleet.serves).status == 0
    assert changed.status == 0
    assert changed.changed == set(BALANCERS)
    assert load.lost == []
    assert all(agreed(fleet.serves).serves(name, fleet.serves) for name in ENGINES)


def test_a_bad_configuration_does_not_replace_the_good_one(fleet: Fleet) -> None:
    with under_load() as load:
        hosts.exec("lb1", "echo 'no such keyword' >> /etc/haproxy/haproxy.cfg")
        assert hosts.exec("lb1", "systemctl reload haproxy", check=False).returncode != 0
        mended = deploy(fleet.serves)
    assert mended.status == 0
    assert mended.changed == {"lb1"}
    assert load.lost == []


def test_a_restart_of_one_balancer_is_not_noticed_at_the_other_and_brings_nobody_back(fleet: Fleet) -> None:
    assert run("tasks/drain.py", fleet.serves, "--limit", "engine3").status == 0
    with under_load(balancers=["lb1"]) as load:
        for what in ("systemctl restart haproxy", "systemctl kill -s KILL haproxy"):
            hosts.exec("lb2", what)
            wait.until(_back_without_engine3, 30, "lb2 does not balance")
        assert run("tasks/undrain.py", fleet.serves).status == 0
    assert load.lost == []
    assert all(agreed(fleet.serves).serves(name, fleet.serves) for name in ENGINES)


def _back_without_engine3() -> bool:
    """Whether lb2 balances; it must not send engine3 anything, also while its health checks have not ended."""
    using = there().rotation["lb2"]
    assert using.get("engine3") in (None, "DOWN", "DRAIN")
    return using == {"engine1": "UP", "engine2": "UP", "engine3": "DRAIN"}
