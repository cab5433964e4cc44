"""An inventory from what is on hosts: of a fleet that serves, over SSH, with host keys that nobody knows yet."""

from __future__ import annotations

import json
import runpy
import subprocess
from pathlib import Path
from typing import Any

from barewind.discover.plan import INVENTORY
from lab import topology
from lab.hosts import keys
from tests.support.commands import ROOT, Run, command
from tests.support.simulated import SIMULATED

NOBODY = "172.30.77.250"  # of the lab's network, and no host of it


def addresses(*names: str) -> list[str]:
    return [host.address for host in topology.current() if host.name in names]


def discover(site: Path, *words: str) -> Run:
    known_hosts = str(site / "known_hosts")
    options = [
        "--user",
        topology.USER,
        "--key",
        str(keys.private_path()),
        "--known-hosts",
        known_hosts,
        "--output",
        str(site),
    ]
    return command("barewind", "discover", *options, *words)


def written(site: Path, file: str) -> dict[str, Any]:
    return {name: value for name, value in runpy.run_path(str(site / file)).items() if not name.startswith("_")}


def test_hosts_are_written_down_as_they_are_and_can_be_planned(fleet: None, tmp_path: Path) -> None:
    hosts = addresses(*SIMULATED, "lb1")
    run = discover(tmp_path, "--accept-host-keys", "--yes", *hosts, NOBODY)
    assert run.status == 2, run.output  # one of them is no host
    inventory = written(tmp_path, INVENTORY)
    assert {group: [name for name, _ in members] for group, members in inventory.items()} == {
        "h100": addresses("hopper1", "hopper2"),
        "b200": addresses("blackwell1"),
        "mi300x": addresses("mi300x1"),
        "balancers": addresses("lb1"),
    }
    assert written(tmp_path, "group_data/mi300x.py") == {"accelerator": "mi300x", "accelerator_count": 8}
    assert f"# {NOBODY}: " in (tmp_path / INVENTORY).read_text()
    # The lab's hosts are small: their memory and disks stand in the way of the real model, and nothing else does.
    ways = [line for line in run.output.splitlines() if "in the way of a deploy" in line]
    assert ways
    assert all("memory" in line or "GiB free" in line for line in ways), ways

    barewind = str(ROOT / ".venv/bin/barewind")
    planned = subprocess.run(
        [barewind, "plan", INVENTORY, "--json"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert planned.returncode == 0, planned.stderr
    plans = json.loads(planned.stdout)
    assert {plan["host"]: plan["accelerator"] for plan in plans}[addresses("mi300x1")[0]] == "mi300x"

    again = discover(tmp_path, "--yes", *hosts, NOBODY)  # the same files, and no key to ask for
    assert (again.status, "unknown host key" in again.output) == (2, False)


def test_unknown_host_keys_are_shown_and_nobody_is_asked_without_a_terminal(fleet: None, tmp_path: Path) -> None:
    run = discover(tmp_path, "--yes", *addresses("lb1"))
    assert run.status == 1
    assert "unknown host key ED25519 SHA256:" in run.output
    assert "there is no terminal to confirm them on" in run.output
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_there_stay(fleet: None, tmp_path: Path) -> None:
    mine = tmp_path / INVENTORY
    mine.parent.mkdir()
    mine.write_text("mine = []\n")
    run = discover(tmp_path, "--accept-host-keys", "--yes", *addresses("lb1"))
    assert run.status == 1
    assert f"{mine}: is there already" in run.output
    assert mine.read_text() == "mine = []\n"
