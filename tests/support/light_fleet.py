"""Many light hosts behind a balancer: what really runs there, past SSH, and what a run over all of them costs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from lab import topology
from lab.hosts import hosts
from tests.support.commands import Run, command
from tests.support.lab import ENGINE_UNIT, servers
from tests.support.releases import Release

BALANCER = "lb1"

_LABEL = '{{index .Config.Labels "barewind.release"}}'
_LOOK = f"docker inspect -f '{_LABEL}' barewind-engine; systemctl show -P ExecMainStartTimestampMonotonic {ENGINE_UNIT}"


@dataclass(frozen=True)
class Cost:
    """What a run took: seconds, and lines that it printed."""

    what: str
    hosts: int
    seconds: float
    lines: int

    def __str__(self) -> str:
        each = f"{self.seconds / self.hosts:.1f} s and {self.lines / self.hosts:.1f} lines per host"
        return f"{self.what}, {self.hosts} hosts: {self.seconds:.1f} s, {self.lines} lines ({each})"


@dataclass
class LightFleet:
    """The light hosts of the running lab. `release` is what all of them serve, None for what the inventory says."""

    names: tuple[str, ...]
    release: Release | None = None
    costs: list[Cost] = field(default_factory=list)

    def timed(self, what: str, run: Callable[[], Run]) -> Run:
        """Do a run, and note what it cost."""
        begun = time.monotonic()
        done = run()
        self.costs.append(Cost(what, len(self.names), time.monotonic() - begun, done.output.count("\n")))
        return done

    def running(self) -> dict[str, tuple[str, str]]:
        """Release, and when its unit was started, of each host."""

        def look(name: str) -> tuple[str, str]:
            answer = hosts.exec(name, _LOOK, check=False, timeout=60).stdout.splitlines()
            return (answer[0], answer[1]) if len(answer) == 2 else ("", "")

        with ThreadPoolExecutor(8) as pool:
            return dict(zip(self.names, pool.map(look, self.names), strict=True))

    def serving(self) -> set[str]:
        """The hosts that the balancer sends requests."""
        return {name for name, server in servers(BALANCER).items() if server.state == "UP" and server.weight}

    def all_serve(self, release: Release | None = None) -> bool:
        """Whether every host is in rotation, and runs a release where one is given."""
        right = release is None or {running for running, _ in self.running().values()} == {release.id}
        return right and self.serving() == set(self.names)


@dataclass(frozen=True)
class Asked:
    """What a run has asked a host over SSH: sessions that it opened there, and commands, several of which may go through one."""

    executions: int
    commands: int


def counted(result: Path, *arguments: str) -> Run:
    """A run of pyinfra; what it has asked each host goes into the file `result`."""
    return command("python", "-m", "bench.count_ssh", str(result), *arguments)


def asked(result: Path) -> dict[str, Asked]:
    """What `counted` has counted, by address."""
    return {address: Asked(**counts) for address, counts in json.loads(result.read_text()).items()}


def names(of: Sequence[topology.Host]) -> tuple[str, ...]:
    """Names of the light hosts among them."""
    return tuple(host.name for host in of if host.light)
