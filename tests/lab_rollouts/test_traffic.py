"""Blue/green: a host that stands by gets the requests by steps, and gives them back, under streaming load."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab import hosts
from tests.lab.conftest import INVENTORY, Run, command
from tests.lab_rollouts.conftest import Fleet
from tests.lab_rollouts.fleet import BALANCERS, ENGINES, there
from tests.lab_rollouts.load import under_load

_GREEN = """import runpy
_lab = runpy.run_path("inventory/lab.py")
blue = _lab["engines"][:2]
green = [(name, {**data, "standby": True}) for name, data in _lab["engines"][2:]]
balancers = _lab["balancers"]
"""


@pytest.fixture
def inventory(tmp_path: Path) -> str:
    """The lab with engine3 as a green group of its own."""
    path = tmp_path / "green.py"
    path.write_text(_GREEN)
    return str(path)


def receiving() -> set[str]:
    """The engine hosts that get requests, of every balancer's HAProxy the same."""
    found = []
    for name in BALANCERS:
        stat = hosts.exec(
            name, "echo 'show stat engines 4 -1' | socat - UNIX-CONNECT:/run/haproxy/barewind.sock"
        ).stdout
        rows = [line.split(",") for line in stat.splitlines() if line.startswith("engines,")]
        found.append({row[1] for row in rows if row[17].startswith("UP") and row[18] != "0"})
    assert all(one == found[0] for one in found)
    return found[0]


def test_traffic_moves_to_green_and_back_and_no_request_is_lost(fleet: Fleet, inventory: str) -> None:
    def run(what: str, *data: str) -> Run:
        more = [word for one in data for word in ("--data", one)]
        return command("pyinfra", inventory, what, "-y", *fleet.serves.options, *more)

    try:
        with under_load() as load:
            assert run("deploy.py").status == 0
            assert receiving() == {"engine1", "engine2"}
            moved = run("tasks/traffic.py", "to=green", "share=50,100", "step_seconds=10")
            assert moved.status == 0
            assert receiving() == {"engine3"}
            assert command("barewind", "status", inventory, *fleet.serves.options).status == 0
            assert run("tasks/traffic.py", "to=blue").status == 0
            assert receiving() == {"engine1", "engine2"}
        assert load.lost == []
        assert load.asked >= 600
    finally:
        assert command("pyinfra", INVENTORY, "deploy.py", "-y", *fleet.serves.options).status == 0
    assert receiving() == set(ENGINES)
    assert all(there().using(name) == {"UP"} for name in ENGINES)
