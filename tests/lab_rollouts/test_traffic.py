"""Blue/green: a new release on a host that stands by gets the requests by steps, and gives them back, under streaming load."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from lab import hosts
from tests.lab.conftest import Run, command, started
from tests.lab_rollouts.conftest import Fleet, mend
from tests.lab_rollouts.fleet import BALANCERS, ENGINES, IMAGE, SITE, UNIT, there
from tests.lab_rollouts.load import under_load

_GREEN = """import runpy
_lab = runpy.run_path("inventory/lab.py")
_site = {site}
blue = [(name, data | _site | {{"image": "{blue}"}}) for name, data in _lab["engines"][:2]]
_new = {{"image": "{green}", "standby": True, "evaluation": ["touch", "{evaluated}"]}}
_new["engine_env"] = {{"VLLM_CPU_KVCACHE_SPACE": "1", "LAB_TRY": "{now}"}}
green = [(name, data | _site | _new) for name, data in _lab["engines"][2:]]
balancers = [(name, data | _site) for name, data in _lab["balancers"]]
"""


@pytest.fixture
def evaluated(tmp_path: Path) -> Path:
    """Is there once the green release has been evaluated."""
    return tmp_path / "evaluated"


@pytest.fixture
def inventory(fleet: Fleet, tmp_path: Path, evaluated: Path) -> str:
    """The lab with engine3 as a green group of its own, which no host has served the release of."""
    site = {key: int(value) for key, value in SITE.items()} | {"lock_file": str(tmp_path / "lock.yaml")}
    images = {"blue": f"{IMAGE}:{fleet.serves.tag}", "green": f"{IMAGE}:{fleet.other.tag}"}
    path = tmp_path / "green.py"
    path.write_text(_GREEN.format(site=site, evaluated=evaluated, now=time.time(), **images))
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


def test_a_new_release_gets_the_traffic_and_gives_it_back_and_no_request_is_lost(
    fleet: Fleet, inventory: str, evaluated: Path
) -> None:
    def run(what: str, *data: str) -> Run:
        more = [word for one in data for word in ("--data", one)]
        return command("pyinfra", inventory, what, "-y", *more)

    blue = {"engine1", "engine2"}
    before = {name: started(name, f"{UNIT}.service") for name in blue}
    assert command("barewind", "lock", inventory).status == 0
    try:
        with under_load() as load:
            assert run("deploy.py").status == 0
            assert evaluated.exists()
            assert receiving() == blue
            assert run("tasks/traffic.py", "to=green", "share=50,100", "step_seconds=10").status == 0
            assert receiving() == {"engine3"}
            assert command("barewind", "status", inventory).status == 0
            releases = there().releases
            assert run("tasks/traffic.py", "to=blue").status == 0
            assert receiving() == blue
        assert load.lost == []
        assert load.asked >= 600
        assert releases["engine1"] == releases["engine2"] == fleet.serves.id != releases["engine3"]
        assert {name: started(name, f"{UNIT}.service") for name in blue} == before
    finally:
        mend(fleet)
    assert receiving() == set(ENGINES)
