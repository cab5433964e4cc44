"""How long until N hosts have verified weights, when every link is equally slow: passed on, N downloads, or rsync from one.

    python -m bench.swarm [--hosts 2 4 6] [--size 200] [--rate 40]

Needs root, iproute2 and rsync; hosts are network namespaces of this machine (bench/namespaces.py), the hub is the lab's.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.connections import Watch
from bench.namespaces import Network, address
from lab.services import hub

ROOT = Path(__file__).parents[1]
MODEL, REVISION = "bench/model", "b" * 40
PORT, HUB_PORT, RSYNC_PORT = 8010, 8000, 8873
_SHARDS = 3
_LIMIT = 3600.0  # seconds for one measurement
_HUB = 0  # number of the host that is the hub


@dataclass(frozen=True)
class Figures:
    """`seconds` until every host had verified files; `origin` bytes that the hub sent, all headers included."""

    seconds: float
    origin: int
    cpu: float  # seconds, all hosts together
    connections: int = 0  # with other hosts, of the host that held most at a time


class Site:
    """A hub with one model on host 0, and hosts 1 to `count`; one directory per host."""

    def __init__(self, network: Network, folder: Path, size: int) -> None:
        self.network, self.folder, self.size = network, folder, size
        self.names = [f"host{number}" for number in range(1, network.count)]
        self.files = _write_model(folder / "models", size)
        self.size = sum(file["size"] for file in self.files.values())

    @contextmanager
    def hub(self) -> Iterator[None]:
        """Have the hub answer in the meantime."""
        command = [
            sys.executable,
            str(ROOT / "lab" / "services" / "hub.py"),
            str(self.folder / "models"),
            str(HUB_PORT),
        ]
        process = self.network.start(_HUB, command)
        try:
            wait_for(lambda: self._answers(process), 30)
            yield
        finally:
            process.kill()
            process.wait()

    def job(self, name: str, *, alone: bool = False, **more: Any) -> dict[str, Any]:
        """The job of a host; `alone`: it downloads for itself."""
        peers = [
            {"name": peer, "address": address(number), "port": PORT} for number, peer in enumerate(self.names, start=1)
        ]
        file_set = {
            "key": "model",
            "model": MODEL,
            "revision": REVISION,
            "directory": str(self.directory(name)),
            "files": self.files,
            "ring": [name] if alone else self.names,
        }
        return {
            "id": "bench",
            "host": name,
            "peers": [] if alone else peers,
            "expected": self.names,
            "endpoint": f"http://{address(_HUB)}:{HUB_PORT}",
            "part_size": max(2**16, self.size // 400),
            "sets": [file_set],
            **more,
        }

    def start(self, name: str, job: dict[str, Any]) -> subprocess.Popen[str]:
        """Start the program that copies weights on a host."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        (folder / "job.json").write_text(json.dumps(job))
        command = [
            sys.executable,
            "-m",
            "barewind.weights.agent.agent",
            str(folder / "job.json"),
            str(folder / "status.json"),
        ]
        log = (folder / "log").open("a")
        return self.network.start(self.names.index(name) + 1, command, cwd=ROOT, stderr=log)

    def directory(self, name: str) -> Path:
        """The directory in which a host's verified files appear."""
        return self.folder / name / "weights"

    def status(self, name: str) -> dict[str, Any]:
        """The status that a host writes; empty until it has."""
        try:
            status: dict[str, Any] = json.loads((self.folder / name / "status.json").read_text())
        except FileNotFoundError:
            return {}
        return status

    def clear(self) -> None:
        """Take every host's files away."""
        for name in self.names:
            shutil.rmtree(self.folder / name, ignore_errors=True)

    def _answers(self, process: subprocess.Popen[str]) -> bool:
        if process.poll() is not None:
            raise RuntimeError("the hub ended; see its message above")
        url = f"http://127.0.0.1:{HUB_PORT}/_lab/health"
        program = f"import urllib.request as u; u.urlopen('{url}', timeout=2)"
        client = self.network.start(_HUB, [sys.executable, "-c", program], stderr=subprocess.DEVNULL)
        return client.wait() == 0


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, nargs="+", default=[2, 4, 6])
    parser.add_argument("--size", type=float, default=200, help="MB (10^6 bytes) of weights")
    parser.add_argument("--rate", type=float, default=40, help="Mbit/s of every link, each way")
    parser.add_argument("--only-swarm", action="store_true", help="leave the naive ways out")
    given = parser.parse_args()
    print(
        "| hosts | way | seconds | of size/rate | hub sent, of size | CPU s per GB and host "
        "| connections, at most |\n|---|---|---|---|---|---|---|"
    )
    for count in given.hosts:
        with tempfile.TemporaryDirectory(dir="/var/tmp") as folder, Network(count + 1, given.rate) as network:
            site = Site(network, Path(folder), int(given.size * 1e6))
            bound = site.size * 8 / (given.rate * 1e6)
            ways = {"passed on": passed_on} | (
                {} if given.only_swarm else {"a download each": each, "rsync from one": rsync}
            )
            for name, way in ways.items():
                with site.hub():
                    figures = way(site)
                print(
                    f"| {count} | {name} | {figures.seconds:.1f} | {figures.seconds / bound:.2f} "
                    f"| {figures.origin / site.size:.3f} | {figures.cpu / count / (site.size / 1e9):.1f} "
                    f"| {figures.connections or ''} |",
                    flush=True,
                )
                site.clear()
    print(f"\n{given.size:.0f} MB in {_SHARDS} files, {given.rate:.0f} Mbit/s each way: size/rate {bound:.1f} s")


def passed_on(site: Site) -> Figures:
    """One download, from host to host."""
    return _measure(site, {name: site.job(name) for name in site.names})


def each(site: Site) -> Figures:
    """As many downloads as hosts."""
    return _measure(site, {name: site.job(name, alone=True) for name in site.names})


def rsync(site: Site) -> Figures:
    """One host downloads, then serves all others at the same time; each checks what it got."""
    first, *others = site.names
    begun, sent = time.monotonic(), site.network.sent(_HUB)
    cpu = _measure(site, {first: site.job(first, alone=True)}).cpu
    config = site.folder / "rsyncd.conf"
    config.write_text(f"use chroot = no\n[weights]\npath = {site.directory(first)}\n")
    daemon = site.network.start(1, ["rsync", "--daemon", "--no-detach", f"--port={RSYNC_PORT}", f"--config={config}"])
    source = f"rsync://{address(1)}:{RSYNC_PORT}/weights/"
    script = f"until rsync -a --whole-file {source} $0/; do sleep 0.2; done; cd $0 && sha256sum --quiet -c SHA256SUMS"
    copies = []
    for number, name in enumerate(others, start=2):
        site.directory(name).parent.mkdir()
        copies.append(
            site.network.start(number, ["sh", "-c", script, str(site.directory(name))], stderr=subprocess.DEVNULL)
        )
    cpu += sum(_cpu(copy) for copy in copies)
    seconds = time.monotonic() - begun
    daemon.terminate()
    return Figures(seconds, site.network.sent(_HUB) - sent, cpu + _cpu(daemon))


def wait_for(happened: Any, seconds: float) -> None:
    """Wait until `happened` says yes.

    Raises:
        TimeoutError: it did not within the seconds.
    """
    end = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds:.0f} s")
        time.sleep(0.05)


def _measure(site: Site, jobs: dict[str, dict[str, Any]]) -> Figures:
    begun, sent = time.monotonic(), site.network.sent(_HUB)
    running = {name: site.start(name, job) for name, job in jobs.items()}
    watch = Watch({name: process.pid for name, process in running.items()})

    def done() -> bool:
        watch.look()
        return all(site.directory(name).is_dir() for name in jobs) or _ended(site, running)

    wait_for(done, _LIMIT)
    seconds = time.monotonic() - begun
    cpu = sum(_cpu(process) for process in running.values())
    return Figures(seconds, site.network.sent(_HUB) - sent, cpu, max(watch.most.values()))


def _ended(site: Site, running: dict[str, subprocess.Popen[str]]) -> bool:
    for name, process in running.items():
        # Not poll(): it would take the process's usage with it.
        ended = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is not None and ended.si_status != 0:
            raise RuntimeError(f"{name} failed: {site.status(name).get('error')}")
    return False


def _cpu(process: subprocess.Popen[str]) -> float:
    """Seconds that a process and its children took; waits for its end."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_utime + usage.ru_stime


def _write_model(models: Path, size: int) -> dict[str, dict[str, Any]]:
    """Random files of a model; name -> size and SHA-256, as a lock has them."""
    folder = models / MODEL
    folder.mkdir(parents=True)
    for number in range(1, _SHARDS + 1):
        (folder / f"consolidated-{number:05}-of-{_SHARDS:05}.safetensors").write_bytes(os.urandom(size // _SHARDS))
    (folder / "params.json").write_text("{}\n")
    index = hub.index(models, {MODEL: REVISION})
    (models / "index.json").write_text(json.dumps(index))
    files = index[MODEL]["files"]
    return {name: {"size": file["size"], "sha256": file["sha256"]} for name, file in files.items()}


if __name__ == "__main__":
    main()
