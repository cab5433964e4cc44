"""Forty hosts that pass weights on, each in a network namespace: few connections each, and what goes wrong is gone around."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from barewind.weights.agent.job import Part, parts_of, read_job
from barewind.weights.agent.store import Store
from bench.connections import Watch
from bench.namespaces import Network
from bench.swarm import HUB_PORT, MODEL, Site, wait_for

PART = 2**16  # bytes
LIMITS = {"grace": 60.0, "dead": 15.0, "stalled": 15.0, "patience": 120.0, "linger": 20.0}
LONG = 300.0  # seconds
MOST = 16  # connections


def sites(tmp_path: Path, hosts: int) -> Iterator[Site]:
    with Network(hosts + 1, None) as network:
        site = Site(network, tmp_path, 60 * PART)
        with site.hub():
            yield site


@pytest.fixture
def forty(tmp_path: Path) -> Iterator[Site]:
    yield from sites(tmp_path, 40)


def test_forty_hosts_hold_few_connections_and_go_around_what_is_wrong(forty: Site) -> None:
    """One host has a few parts, one of them rotten; the two before it die half way."""
    site = forty
    kept = keep_some(site, "host20", rotten=2)
    jobs = {name: site.job(name, limits=LIMITS, part_size=PART, rate_limit=8 * PART) for name in site.names}
    running = {name: site.start(name, job) for name, job in jobs.items()}
    dead, living = ["host18", "host19"], [name for name in site.names if name not in ("host18", "host19")]
    watch = Watch({name: process.pid for name, process in running.items()})

    def happened(done: Any) -> Any:
        return lambda: watch.look() or done()

    wait_for(happened(lambda: min(copied(site, name) for name in site.names) > 20 * PART), LONG)
    for name in dead:
        running[name].kill()
        running[name].wait()
    wait_for(happened(lambda: all(site.directory(name).is_dir() for name in living)), LONG)

    assert [running[name].wait(LONG) for name in living] == [0] * len(living)
    assert max(watch.most.values()) <= MOST, watch.most
    assert all(watch.looks[name] > 1 for name in site.names), watch.looks
    asked = Counter(requests(site))
    assert set(asked.values()) == {1}
    good = {(part.file, f"bytes={part.start}-{part.end - 1}") for part in kept[:2] + kept[3:]}
    assert not good & set(asked)
    for name in living:
        check = ["sha256sum", "--quiet", "--check", "SHA256SUMS"]
        assert subprocess.run(check, cwd=site.directory(name)).returncode == 0
    # Told by a host that was sent it, or by the host that has it: whichever comes first.
    told = "".join((site.folder / name / "log").read_text() for name in site.names)
    assert "host20 sent other bytes than it has" in told or "changed on the disk" in told


def copied(site: Site, name: str) -> int:
    return int(site.status(name).get("copied", 0))


def keep_some(site: Site, name: str, rotten: int) -> list[Part]:
    """Give a host the first six parts, as of a run that was cut off; its disk has changed one of them since."""
    file_set = read_job(json.dumps(site.job(name))).sets[0]
    parts = parts_of(file_set, PART)
    store = Store(file_set, parts)
    store.open()
    kept = [part for part in parts if part.size == PART][:6]
    for part in kept:
        data = (site.folder / "models" / MODEL / part.file).read_bytes()[part.start : part.end]
        store.write(part, 0, memoryview(data))
        store.record(part, store.digest(part))
    store.write(kept[rotten], 0, memoryview(b"rot"))
    store.close()
    return kept


def requests(site: Site) -> list[tuple[str, str]]:
    """Files and ranges that the hub was asked for."""
    url = f"http://127.0.0.1:{HUB_PORT}/_lab/requests"
    program = f"import urllib.request as u; print(u.urlopen('{url}').read().decode())"
    with site.network.start(0, [sys.executable, "-c", program], stdout=subprocess.PIPE) as client:
        told = json.loads(client.communicate()[0])
    return [(one["path"].rsplit("/", 1)[1], one["range"]) for one in told if one["method"] == "GET" and one["range"]]
