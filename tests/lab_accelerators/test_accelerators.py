"""Drivers on hosts with simulated accelerators: first install, upgrade host by host, what happens when one fails."""

from __future__ import annotations

import re

import pytest

from lab.hosts import hardware_control, hosts
from tests.support.commands import Run
from tests.support.lab import LAB, ask, started
from tests.support.load import under_load
from tests.support.simulated import (
    BROKEN,
    HOPPER,
    NEW,
    OLD,
    SIMULATED,
    boot_id,
    driver,
    reboot,
    rotation,
    shell,
)


def test_stock_servers_become_engine_hosts(first_deploy: Run) -> None:
    assert first_deploy.status == 0
    assert rotation() == dict.fromkeys(SIMULATED, "UP")
    assert ask().status_code == 200


@pytest.mark.parametrize("host", SIMULATED)
def test_every_accelerator_works_and_a_container_sees_all(fleet: None, host: str) -> None:
    tool = "amd-smi static --asic --json" if host == "mi300x1" else "nvidia-smi -L"
    assert shell(host, tool).count("market_name" if host == "mi300x1" else "GPU ") >= 8
    # Opened as the engine opens them, whose user is not root: on MI300X hosts they are root:render, 0660.
    devices = shell(
        host,
        "docker exec barewind-engine sh -c 'for d in /dev/kfd /dev/nvidia[0-9]* /dev/dri/renderD*; do "
        "[ ! -c $d ] || { : <> $d && echo $d; }; done'",
    ).split()
    assert len(devices) == (9 if host == "mi300x1" else 8)


@pytest.mark.full  # all of it is verified after the upgrade
def test_verification_passes(fleet: None) -> None:
    """Of what can be verified with another driver than the inventory's: all but its version."""
    run = LAB.verify("-k", "mi300x1 or lb1")
    assert run.status == 0


def test_a_driver_upgrade_goes_host_by_host_and_loses_no_request(fleet: None) -> None:
    before = {host: boot_id(host) for host in SIMULATED}

    with under_load(least=50, streams=4, balancers=["lb1"]) as load:
        run = LAB.deploy("--data", f"nvidia_driver={NEW}")

    assert run.status == 0
    assert load.lost == []
    assert load.fewest["lb1"] >= len(SIMULATED) - 1
    for host in (*HOPPER, "blackwell1"):
        assert driver(host) == NEW
        assert shell(host, "dpkg-query -W -f '${Version}' nvidia-fabricmanager").startswith(NEW)
        assert shell(host, "systemctl is-active nvidia-fabricmanager") == "active"
        assert boot_id(host) != before[host]
    assert boot_id("mi300x1") == before["mi300x1"]
    left = re.findall(r"Batch (\d) of 3: drain", run.output)
    assert sorted(set(left)) == ["1", "2", "3"]


def test_second_run_changes_nothing_and_restarts_nothing(fleet: None) -> None:
    before = [(boot_id(host), started(host)) for host in SIMULATED]
    run = LAB.deploy()
    assert run.status == 0
    assert run.changed == set()
    assert [(boot_id(host), started(host)) for host in SIMULATED] == before


def test_everything_is_verified_after_the_upgrade(fleet: None) -> None:
    run = LAB.verify()
    assert run.status == 0


def test_a_package_that_fails_stops_the_rollout_with_its_host_drained_and_named(mended: None) -> None:
    serving = started("hopper2")

    run = LAB.deploy("--limit", "hopper", "--data", f"nvidia_driver={BROKEN}")

    assert run.status != 0
    assert "Bad return status for module build" in run.output
    assert f"hopper1: 'nvidia driver {NEW}" in run.output
    assert "out of service and stays so" in run.output
    assert rotation()["hopper1"] != "UP"
    assert rotation()["hopper2"] == "UP"
    assert started("hopper2") == serving
    assert driver("hopper2") == NEW
    assert ask().status_code == 200


def test_a_host_that_does_not_come_back_stops_the_rollout(mended: None) -> None:
    hosts.no_return("hopper1")
    run = LAB.deploy("--limit", "hopper", "--data", f"nvidia_driver={OLD}", "--data", "reboot_timeout=30")
    hosts.start("hopper1")

    assert run.status != 0
    assert "hopper1: did not come back within 30 s after its restart" in run.output
    assert rotation()["hopper2"] == "UP"
    assert driver("hopper2") == NEW
    assert ask().status_code == 200


def test_preflight_refuses_a_sick_host_before_anything_changes(fleet: None) -> None:
    hardware_control.turn("hopper1", mig=[0], ecc={"3": 2}, repair_pending=[5])
    run = LAB.deploy()
    hardware_control.reset("hopper1")
    assert run.status != 0
    for finding in (
        "MIG is on for GPU 0",
        "GPU 3: 2 uncorrectable memory errors",
        "GPU 5: failed memory waits for a reset",
    ):
        assert finding in run.output
    assert "nothing was changed" in run.output
    assert "Starting operation" not in run.output


def test_a_card_that_is_gone_after_a_restart_is_found(mended: None) -> None:
    hardware_control.turn("hopper1", count=7)
    reboot("hopper1")
    run = LAB.deploy()
    assert run.status != 0
    assert "has 7 x " in run.output
    assert "the inventory says 8 x h100" in run.output
    hardware_control.reset("hopper1")
    reboot("hopper1")


def test_drivers_of_the_sites_own_are_only_looked_at(fleet: None) -> None:
    before = [boot_id(host) for host in SIMULATED]
    run = LAB.deploy("--data", "accelerator_drivers=external", "--data", "nvidia_driver=999.1.1")
    assert run.status == 0
    assert run.changed == set()
    assert [boot_id(host) for host in SIMULATED] == before


def test_docker_of_the_vendor_replaces_the_distributions_out_of_rotation(mended: None) -> None:
    with under_load(least=50, streams=4, balancers=["lb1"]) as load:
        run = LAB.deploy("--limit", "hopper1", "--data", "docker_source=vendor")
    assert run.status == 0
    assert load.lost == []
    assert "docker.io -> docker-ce" in run.output
    assert shell("hopper1", "dpkg-query -W -f '${db:Status-Status}' docker-ce") == "installed"
    assert rotation()["hopper1"] == "UP"
