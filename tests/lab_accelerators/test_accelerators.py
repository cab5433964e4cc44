"""Drivers on hosts with simulated accelerators: first install, upgrade host by host, what happens when one fails."""

from __future__ import annotations

import re

import pytest

from lab import hardware_control, hosts
from tests.lab.conftest import INVENTORY, UNIT, Run, ask, command, deploy, started
from tests.lab_accelerators.conftest import (
    BROKEN,
    HOPPER,
    NEW,
    OLD,
    SIMULATED,
    boot_id,
    driver,
    restart,
    rotation,
    sh,
    under_load,
)


def test_stock_servers_become_engine_hosts(first_deploy: Run) -> None:
    assert first_deploy.status == 0
    assert rotation() == dict.fromkeys(SIMULATED, "UP")
    assert ask().status_code == 200


@pytest.mark.parametrize("host", SIMULATED)
def test_every_accelerator_works_and_a_container_sees_all(fleet: None, host: str) -> None:
    tool = "amd-smi static --asic --json" if host == "mi300x1" else "nvidia-smi -L"
    assert sh(host, tool).count("market_name" if host == "mi300x1" else "GPU ") >= 8
    devices = sh(
        host, "docker exec barewind-engine sh -c 'ls -d /dev/nvidia[0-9]* /dev/dri/renderD* 2>/dev/null; true'"
    )
    assert len(devices.split()) == 8


def test_second_run_changes_nothing_and_restarts_nothing(fleet: None) -> None:
    before = [(boot_id(host), started(host, UNIT)) for host in SIMULATED]
    run = deploy("--data", f"nvidia_driver={OLD}")
    assert run.status == 0
    assert run.changed == set()
    assert [(boot_id(host), started(host, UNIT)) for host in SIMULATED] == before


def test_verification_passes(fleet: None) -> None:
    """Of what can be verified with another driver than the inventory's: all but its version."""
    run = command("pytest", "tests/verify", "--inventory", INVENTORY, "-p", "no:cacheprovider", "-k", "mi300x1 or lb1")
    assert run.status == 0


def test_a_driver_upgrade_goes_host_by_host_and_loses_no_request(fleet: None) -> None:
    before = {host: boot_id(host) for host in SIMULATED}

    with under_load() as load:
        run = deploy("--data", f"nvidia_driver={NEW}")

    assert run.status == 0
    assert load.failures == []
    assert load.answered > 50
    assert load.fewest_up >= len(SIMULATED) - 1
    for host in (*HOPPER, "blackwell1"):
        assert driver(host) == NEW
        assert sh(host, "dpkg-query -W -f '${Version}' nvidia-fabricmanager").startswith(NEW)
        assert sh(host, "systemctl is-active nvidia-fabricmanager") == "active"
        assert boot_id(host) != before[host]
    assert boot_id("mi300x1") == before["mi300x1"]
    left = re.findall(r"Batch (\d) of 3: leave", run.output)
    assert sorted(set(left)) == ["1", "2", "3"]
    assert deploy().changed == set()


def test_everything_is_verified_after_the_upgrade(fleet: None) -> None:
    run = command("pytest", "tests/verify", "--inventory", INVENTORY, "-p", "no:cacheprovider")
    assert run.status == 0


def test_a_package_that_fails_stops_the_rollout_with_its_host_drained_and_named(mended: None) -> None:
    serving = started("hopper2", UNIT)

    run = deploy("--limit", "hopper", "--data", f"nvidia_driver={BROKEN}")

    assert run.status != 0
    assert "Bad return status for module build" in run.output
    assert f"hopper1: 'nvidia driver {NEW}" in run.output
    assert "out of service and stays so" in run.output
    assert rotation()["hopper1"] != "UP"
    assert rotation()["hopper2"] == "UP"
    assert started("hopper2", UNIT) == serving
    assert driver("hopper2") == NEW
    assert ask().status_code == 200


def test_a_host_that_does_not_come_back_stops_the_rollout(mended: None) -> None:
    hosts.no_return("hopper1")
    run = deploy("--limit", "hopper", "--data", f"nvidia_driver={OLD}", "--data", "reboot_timeout=30")
    hosts.start("hopper1")

    assert run.status != 0
    assert "hopper1: did not come back within 30 s after its restart" in run.output
    assert rotation()["hopper2"] == "UP"
    assert driver("hopper2") == NEW
    assert ask().status_code == 200


@pytest.mark.parametrize(
    ("host", "knobs", "finding"),
    [
        ("hopper1", {"mig": [0]}, "MIG is on for GPU 0"),
        ("hopper1", {"ecc": {"3": 2}}, "GPU 3: 2 uncorrectable memory errors"),
        ("hopper1", {"repair_pending": [5]}, "GPU 5: failed memory waits for a reset"),
    ],
)
def test_preflight_refuses_a_sick_host_before_anything_changes(
    mended: None, host: str, knobs: dict[str, object], finding: str
) -> None:
    hardware_control.turn(host, **knobs)  # type: ignore[arg-type]
    run = deploy()
    assert run.status != 0
    assert finding in run.output
    assert "nothing was changed" in run.output
    assert "Starting operation" not in run.output


def test_a_card_that_is_gone_after_a_restart_is_found(mended: None) -> None:
    hardware_control.turn("hopper1", count=7)
    restart("hopper1")
    run = deploy()
    assert run.status != 0
    assert "has 7 x " in run.output
    assert "the inventory says 8 x h100" in run.output
    hardware_control.reset("hopper1")
    restart("hopper1")


def test_drivers_of_the_sites_own_are_only_looked_at(fleet: None) -> None:
    before = [boot_id(host) for host in SIMULATED]
    run = deploy("--data", "accelerator_drivers=external", "--data", "nvidia_driver=999.1.1")
    assert run.status == 0
    assert run.changed == set()
    assert [boot_id(host) for host in SIMULATED] == before


def test_docker_of_the_vendor_replaces_the_distributions_out_of_rotation(mended: None) -> None:
    with under_load() as load:
        run = deploy("--limit", "hopper1", "--data", "docker_source=vendor")
    assert run.status == 0
    assert load.failures == []
    assert "docker.io -> docker-ce" in run.output
    assert sh("hopper1", "dpkg-query -W -f '${db:Status-Status}' docker-ce") == "installed"
    assert rotation()["hopper1"] == "UP"
