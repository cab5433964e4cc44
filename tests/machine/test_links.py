"""Hosts that pass weights on over real links, in network namespaces: what goes wrong on a network and with processes.

Three minutes.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from barewind.plan.engine import plan_host
from barewind.weights.plan import host_jobs
from bench.namespaces import Network, address
from bench.swarm import PORT, Site, wait_for
from tests.support.factories import engine_spec, locked

HOSTS = 4
SIZE = 20_000_000  # bytes
RATE = 20.0  # Mbit/s: size/rate is 8 s
LIMITS = {"grace": 20.0, "dead": 6.0, "stalled": 6.0, "patience": 90.0, "linger": 30.0}
LONG = 240.0  # seconds

Processes = dict[str, "subprocess.Popen[str]"]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Network(HOSTS + 2, RATE) as network:  # one host more, that is not of the fleet
        made = Site(network, tmp_path, SIZE)
        made.names = made.names[:HOSTS]
        with made.hub():
            yield made


def start(site: Site, *names: str) -> Processes:
    return {name: site.start(name, site.job(name, limits=LIMITS)) for name in names or site.names}


def complete(site: Site, *names: str) -> bool:
    return all(site.directory(name).is_dir() for name in names or site.names)


def share(site: Site, name: str) -> float:
    """How much of the files a host has."""
    status = site.status(name)
    return float(status["copied"]) / site.size if status else 0.0


def test_hosts_pass_on_what_they_still_receive_and_the_hub_sends_all_once(site: Site) -> None:
    before = site.network.sent(0)
    running = start(site)
    wait_for(lambda: any(complete(site, name) for name in site.names), LONG)
    assert min(share(site, name) for name in site.names) > 0.25  # one after the other, the last would have nothing yet
    wait_for(lambda: complete(site), LONG)
    assert [process.wait(LONG) for process in running.values()] == [0] * HOSTS
    assert (site.network.sent(0) - before) / site.size < 1.2  # headers, and what TCP sends again
    for name in site.names:
        check = ["sha256sum", "--quiet", "--check", "SHA256SUMS"]
        assert subprocess.run(check, cwd=site.directory(name)).returncode == 0


@pytest.mark.parametrize("victim", ["host1", "host3"])
def test_a_process_that_is_killed_and_started_again_goes_on(site: Site, victim: str) -> None:
    before = site.network.sent(0)
    running = start(site)
    wait_for(lambda: min(share(site, name) for name in (victim, "host4")) > 0.2, LONG)
    running[victim].kill()
    running[victim].wait()
    had, last = share(site, victim), share(site, "host4")
    wait_for(lambda: share(site, "host4") > last + 0.1 or complete(site, "host4"), LONG)  # the others go on
    running |= start(site, victim)
    wait_for(lambda: complete(site), LONG)
    assert had > 0.2
    assert (site.network.sent(0) - before) / site.size < 1.25
    assert [process.wait(LONG) for process in running.values()] == [0] * HOSTS


@pytest.mark.parametrize("victim", [1, 2])
def test_a_host_that_loses_its_link_does_not_hold_up_the_others(site: Site, victim: int) -> None:
    start(site)
    wait_for(lambda: share(site, "host4") > 0.2, LONG)
    site.network.cut(victim)
    others = [name for name in site.names if name != f"host{victim}"]
    wait_for(lambda: complete(site, *others), LONG)
    assert not complete(site, f"host{victim}")
    site.network.join(victim)
    wait_for(lambda: complete(site), LONG)


def test_a_hub_that_goes_away_for_a_while_is_asked_again(site: Site, tmp_path: Path) -> None:
    start(site)
    wait_for(lambda: share(site, "host4") > 0.2, LONG)
    site.network.cut(0)
    wait_for(lambda: any(site.status(name)["note"] for name in site.names), LONG)  # they have noticed
    site.network.join(0)
    wait_for(lambda: complete(site), LONG)


def test_the_firewall_lets_in_the_fleet_and_nobody_else(site: Site, tmp_path: Path) -> None:
    specs = [
        engine_spec(host=name, address=address(number), weights_port=PORT) for number, name in enumerate(site.names, 1)
    ]
    rules = host_jobs({spec.host: plan_host(spec, locked(spec)) for spec in specs})["host1"].firewall
    file = tmp_path / "rules.nft"
    file.write_text(rules or "")
    assert site.network.start(1, ["nft", "-f", str(file)]).wait() == 0
    listener = site.network.start(1, [sys.executable, "-m", "http.server", str(PORT), "--bind", address(1)])
    ask = f"import socket; socket.create_connection(('{address(1)}', {PORT}), timeout=2)"
    try:
        wait_for(lambda: reaches(site, 2, ask), 20)
        assert reaches(site, 4, ask)
        assert not reaches(site, HOSTS + 1, ask)
    finally:
        listener.kill()
        listener.wait()


def reaches(site: Site, host: int, program: str) -> bool:
    return site.network.start(host, [sys.executable, "-c", program], stderr=subprocess.DEVNULL).wait() == 0
