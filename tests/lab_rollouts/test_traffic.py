"""Blue/green: a new release on a host that stands by gets the requests by steps, and gives them back, under streaming load."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.support.commands import Site, data
from tests.support.fleet import BALANCERS, ENGINES, Fleet, observe
from tests.support.lab import servers, started
from tests.support.load import under_load
from tests.support.releases import IMAGE, SITE

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
def site(fleet: Fleet, tmp_path: Path, evaluated: Path) -> Site:
    """The lab with engine3 as a green group of its own, which no host has served the release of."""
    keys = {key: int(value) for key, value in SITE.items()} | {"lock_file": str(tmp_path / "lock.yaml")}
    images = {"blue": f"{IMAGE}:{fleet.release.tag}", "green": f"{IMAGE}:{fleet.other.tag}"}
    inventory = tmp_path / "green.py"
    inventory.write_text(_GREEN.format(site=keys, evaluated=evaluated, now=time.time(), **images))
    return Site(str(inventory))


def receiving() -> set[str]:
    """The engine hosts that get requests, of every balancer's HAProxy the same."""
    names = [
        {name for name, server in servers(balancer).items() if server.state == "UP" and server.weight}
        for balancer in BALANCERS
    ]
    assert all(of_one == names[0] for of_one in names)
    return names[0]


def test_a_new_release_gets_the_traffic_and_gives_it_back_and_no_request_is_lost(
    fleet: Fleet, site: Site, evaluated: Path
) -> None:
    blue = {"engine1", "engine2"}
    before = {name: started(name) for name in blue}
    assert site.barewind("lock").status == 0
    try:
        with under_load() as load:
            assert site.deploy().status == 0
            assert evaluated.exists()
            assert receiving() == blue
            move = data(to="green", share="50,100", step_seconds=10)
            assert site.pyinfra("tasks/traffic.py", *move).status == 0
            assert receiving() == {"engine3"}
            assert site.barewind("status").status == 0
            releases = observe().releases
            assert site.pyinfra("tasks/traffic.py", *data(to="blue")).status == 0
            assert receiving() == blue
        assert load.lost == []
        assert load.asked >= 600
        assert releases["engine1"] == releases["engine2"] == fleet.release.id != releases["engine3"]
        assert {name: started(name) for name in blue} == before
    finally:
        fleet.repair()
    assert receiving() == set(ENGINES)
