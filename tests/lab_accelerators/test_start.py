"""docs/start.md, and the README's first command, as a reader runs them: their servers are the fleet that serves here.

What a page cannot know of a site, its registry, hub and model, is written by hand in between, as the lab's inventory has it,
so that the deploy finds everything in place.
"""

from __future__ import annotations

import os
import shutil
from functools import partial
from pathlib import Path

import pytest

from lab import topology
from lab.hosts import keys
from tests.support import pages
from tests.support.commands import ROOT, json_of
from tests.support.lab import LAB, started
from tests.support.simulated import SIMULATED, driver
from tests.support.wheel import UV, build, checked, pins

NAMES = (*SIMULATED, "lb1")
WAY = ("ssh_", "_", "address", "lock_file", "accelerator", "reason")  # keys of a host that are a site's own


@pytest.fixture
def reader(tmp_path: Path) -> dict[str, str]:
    """The environment of somebody who has a wheel, and reaches the fleet's hosts by name."""
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    config = [f"Host *\n  User {topology.USER}\n  IdentityFile {keys.private_path()}\n"]
    config += [f"Host {name}\n  HostName {topology.find(name).address}\n" for name in NAMES]
    (home / ".ssh" / "config").write_text("".join(config))
    pins(tmp_path)
    cache = checked(UV, "cache", "dir", cwd=tmp_path).strip()
    paths = ":".join(each for each in os.environ["PATH"].split(":") if ".venv" not in each)
    own = {"HOME": str(home), "PATH": paths, "TERM": "xterm-256color", "UV_CACHE_DIR": cache}
    return os.environ | own | {"UV_CONSTRAINT": str(tmp_path / "pins.txt")}


def write_keys(site: Path) -> None:
    """The keys of each group, as the lab's inventory has them."""
    for host in json_of("pyinfra", LAB.inventory, "debug-inventory", "--json"):
        group = {"hopper": "h100", "blackwell": "b200"}.get(host["groups"][0], host["groups"][0])
        own = {key: value for key, value in host["data"].items() if not key.startswith(WAY)}
        if "nvidia_driver" in own:
            own["nvidia_driver"] = driver("hopper1")  # which one that is, earlier tests decide
        with (site / f"group_data/{group}.py").open("a") as file:
            file.writelines(f"{key} = {value!r}\n" for key, value in own.items())


def test_ten_servers_are_a_fleet_when_one_does_what_the_pages_say(
    fleet: None, reader: dict[str, str], tmp_path: Path
) -> None:
    wheel = shutil.copy(build(tmp_path), tmp_path)
    before = [started(name) for name in SIMULATED]
    site = tmp_path / "fleet"
    pages.run(
        "docs/start.md",
        tmp_path,
        reader,
        instead={
            "pip install": f"{UV} pip install -q",  # at the lock file's versions, out of uv's cache
            "barewind-NEW.whl": str(wheel),
            "gpu1 gpu2 gpu3 lb1": " ".join(NAMES),
            "gpu1:": "hopper1:",
        },
        before={"barewind lock": partial(write_keys, site)},
    )
    assert [started(name) for name in SIMULATED] == before


def test_the_command_of_the_readme_deploys(fleet: None) -> None:
    bin_first = f"{ROOT / '.venv/bin'}:{os.environ['PATH']}"
    fleet_here = f"{LAB.inventory} --data nvidia_driver={driver('hopper1')}"
    pages.run(
        "README.md", ROOT, os.environ | {"PATH": bin_first}, instead={"inventory/prod.py": fleet_here}, only="pyinfra "
    )
