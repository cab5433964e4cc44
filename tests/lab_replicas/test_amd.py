"""A host of simulated MI300X with four engines: each has the render nodes of its own cards."""

from __future__ import annotations

import pytest

from lab import topology, wait
from lab.hosts import hardware, hardware_control, hosts
from tests.support import replicas
from tests.support.commands import command
from tests.support.lab import LAB, Size
from tests.support.releases import deploy
from tests.support.replicas import COUNT, OneHost, devices, units

pytestmark = pytest.mark.full

HOST = "mi300x1"


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> OneHost:
    """A fresh host that gets four engines at once."""
    return replicas.deployed(tmp_path_factory.mktemp("locks"), Size(mi300x=1), host=HOST)


def test_every_engine_serves_and_is_as_planned(deployed: OneHost) -> None:
    assert deployed.all_serve(deployed.release)
    verified = command("barewind", "verify", LAB.inventory, *deployed.release.options)
    assert verified.status == 0, verified.output


def test_each_has_the_render_nodes_of_its_part(deployed: OneHost) -> None:
    found = sorted(hardware.describe(topology.find(HOST))["cards"], key=lambda card: (card["node"], card["address"]))
    names = " ".join(f"/dev/dri/by-path/pci-{card['address']}-render" for card in found)
    nodes = hosts.exec(HOST, f"readlink -e {names}").stdout.split()
    each = len(nodes) // COUNT
    parts = [nodes[number * each : (number + 1) * each] for number in range(COUNT)]
    assert [devices(HOST, number) for number in range(COUNT)] == [sorted([*part, "/dev/kfd"]) for part in parts]
    assert len(set(nodes)) == 8


def test_a_second_deploy_changes_nothing(deployed: OneHost) -> None:
    before = deployed.started()
    again = deploy(deployed.release)
    assert (again.status, again.changed) == (0, set())
    assert deployed.started() == before


def test_an_engine_waits_for_memory_that_another_holds_and_its_siblings_serve(deployed: OneHost) -> None:
    before = deployed.started()
    try:
        hardware_control.turn(HOST, held={"3": 90000})  # MiB, of a card of the second engine
        hosts.exec(HOST, f"systemctl restart {units(COUNT)[1]}", check=False, timeout=180)
        journal = f"journalctl -u {units(COUNT)[1]} -o cat --no-pager"
        wait.until(
            lambda: (
                "mi300x1-1: memory of its accelerators is in use: accelerator 3 " in hosts.exec(HOST, journal).stdout
            ),
            180,
            "the engine does not say that its accelerator is in use",
        )
        wait.until(lambda: replicas.states()["mi300x1-1"] == "DOWN", 120, "the balancer does not notice")
        after = deployed.started()
        assert [after[0], *after[2:]] == [before[0], *before[2:]]
        status = command("barewind", "status", LAB.inventory, *deployed.release.options)
        assert status.status == 1
        assert "mi300x1: degraded: mi300x1-1 out of rotation" in status.output
    finally:
        hardware_control.turn(HOST, held=None)
    deployed.settled()
    assert deployed.all_serve(deployed.release)
