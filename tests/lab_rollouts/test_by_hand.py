"""Hosts drained, returned and restarted by hand."""

from __future__ import annotations

import pytest

from barewind.plan.names import DROP_IN_FILE
from lab import wait
from lab.hosts import hosts
from tests.support.commands import data, limit
from tests.support.fleet import BALANCERS, ENGINES, Fleet, agreed, await_health, observe, settled, status
from tests.support.lab import ENGINE_UNIT, started
from tests.support.load import under_load
from tests.support.releases import deploy, run


def test_a_host_drained_on_purpose_stays_out_until_it_is_returned(fleet: Fleet) -> None:
    with under_load() as load:
        drained = run("tasks/drain.py", fleet.release, *limit("engine2"), *data(reason="new memory"))
        for name in BALANCERS:
            hosts.exec(name, "systemctl reload haproxy")
        deployed = deploy(fleet.other, *limit("engine2", "lb1", "lb2"))
        state = agreed(fleet.other)
        report = status(fleet.other)
        returned = run("tasks/undrain.py", fleet.other, *limit("engine2"))
    assert (drained.status, deployed.status, returned.status) == (0, 0, 0)
    assert load.lost == []
    assert min(load.fewest.values()) == 2
    assert state.states_of("engine2") == {"DRAIN"}
    assert state.releases["engine2"] == fleet.other.id
    (row,) = [row for row in report["engines"] if row["host"] == "engine2"]
    assert row["drained"]["why"] == "new memory"
    assert "in maintenance: engine2" in deployed.output
    assert agreed(fleet.other).serves("engine2", fleet.other)


def test_nobody_can_drain_all(fleet: Fleet) -> None:
    refused = run("tasks/drain.py", fleet.release)
    assert refused.status != 0
    assert "nothing was changed" in refused.output
    assert agreed(fleet.release).all_serve(fleet.release)


def test_a_rolling_restart_loses_nothing(fleet: Fleet) -> None:
    before = {name: started(name) for name in ENGINES}
    with under_load() as load:
        restarted = run("tasks/restart.py", fleet.release)
    assert restarted.status == 0
    assert load.lost == []
    assert min(load.fewest.values()) >= 2
    assert all(started(name) != then for name, then in before.items())
    assert agreed(fleet.release).all_serve(fleet.release)


@pytest.mark.full  # test_abuse stops and reboots hosts beside clients that mean no good; tests/lab kills an engine
def test_hosts_that_are_stopped_restarted_and_rebooted_by_hand_lose_nothing(fleet: Fleet) -> None:
    """No balancer is told: the host refuses what is new, and what runs ends within its time limit."""
    patient = fleet.release.but(shutdown_timeout=30)
    assert deploy(patient).status == 0
    before = {name: started(name) for name in ENGINES}
    with under_load() as load:
        hosts.exec("engine1", f"systemctl stop {ENGINE_UNIT}")
        wait.until(lambda: observe().states_of("engine1") == {"DOWN"}, 60, "engine1 is still asked")
        hosts.exec("engine1", f"systemctl start {ENGINE_UNIT}")
        assert settled().all_serve(patient)
        for command in (f"systemctl restart {ENGINE_UNIT}", "systemctl restart docker"):  # as an upgrade of it does
            hosts.exec("engine2", command)
            await_health("engine2")
            assert settled().all_serve(patient)
        hosts.exec("engine3", "systemctl reboot", check=False)
        wait.until(lambda: has_restarted("engine3", before["engine3"]), 120, "engine3 does not come back")
        await_health("engine3")
        assert settled().all_serve(patient)
    assert load.lost == []
    assert min(load.fewest.values()) >= 2
    assert all(started(name) != then for name, then in before.items())
    before = {name: started(name) for name in ENGINES}
    hosts.exec("engine1", "docker kill barewind-engine")  # it comes back by itself
    wait.until(lambda: has_restarted("engine1", before["engine1"]), 60, "engine1 does not come back")
    await_health("engine1")
    assert settled().all_serve(patient)
    assert not any("stopping" in hosts.exec(name, "nft list tables").stdout for name in ENGINES)


@pytest.mark.full
def test_a_stop_loses_requests_on_a_host_that_goes_on_accepting_them(fleet: Fleet) -> None:
    """The contrast: without its drop-in. A deploy brings it back, and restarts nothing for it."""
    hosts.exec("engine1", f"rm {DROP_IN_FILE} && systemctl daemon-reload")
    with under_load(least=300) as load:
        hosts.exec("engine1", f"systemctl stop {ENGINE_UNIT}")
        hosts.exec("engine1", f"systemctl start {ENGINE_UNIT}")
        await_health("engine1")
    assert load.lost
    assert settled().all_serve(fleet.release)
    before = {name: started(name) for name in ENGINES}
    again = deploy(fleet.release)
    assert again.status == 0
    assert again.changed == {"engine1"}
    assert {name: started(name) for name in ENGINES} == before
    assert deploy(fleet.release).changed == set()


def has_restarted(host: str, before: str) -> bool:
    show = f"systemctl show -P ExecMainStartTimestampMonotonic {ENGINE_UNIT}"
    now = hosts.exec(host, show, check=False).stdout.strip()
    return now not in ("", "0", before)
