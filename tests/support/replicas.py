"""A host with several engines: what really runs there, past SSH, and how it is put into order again."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lab import topology, wait
from lab.hosts import hosts
from lab.images import standin_engine
from lab.progress import Steps
from lab.services import hub_control
from tests.support import fleet
from tests.support import releases as rollouts
from tests.support.commands import data
from tests.support.fleet import FleetState
from tests.support.lab import LAB, Size, bring_up, servers, started
from tests.support.releases import Release
from tests.support.simulated import NEW

BALANCER = "lb1"
HOST, COUNT = "hopper1", 4  # the host of simulated accelerators that has several engines, and how many
LABEL = '{{index .Config.Labels "barewind.release"}}'
SLOW = "STANDIN_TOKENS_PER_SECOND=20"  # for two cores, so that streams last seconds


def names(host: str, count: int) -> list[str]:
    """Names of a host's engines."""
    return [f"{host}-{number}" for number in range(count)]


def units(count: int) -> list[str]:
    """The units of a host's engines."""
    return [f"barewind-engine@{number}.service" for number in range(count)]


def releases(host: str, count: int) -> list[str]:
    """The release that each engine's container bears; empty where none runs."""
    look = "; ".join(f"echo $(docker inspect -f '{LABEL}' barewind-engine-{number})" for number in range(count))
    return hosts.exec(host, f"{{ {look}; }} 2>/dev/null", timeout=60).stdout.splitlines()


def cards(host: str, number: int) -> set[str]:
    """The accelerators that an engine's container sees."""
    look = f"docker exec barewind-engine-{number} sh -c 'for f in /dev/nvidia[0-9]*; do echo $f; done'"
    return set(hosts.exec(host, look, timeout=60).stdout.split())


def devices(host: str, number: int) -> list[str]:
    """The device nodes that Docker gave an engine's container one by one, in order."""
    look = f"docker inspect -f '{{{{json .HostConfig.Devices}}}}' barewind-engine-{number}"
    return sorted(device["PathOnHost"] for device in json.loads(hosts.exec(host, look).stdout) or [])


def states(balancer: str = BALANCER) -> dict[str, str]:
    """What a balancer does with each engine: UP, DOWN, DRAIN, ..."""
    return {name: server.state for name, server in servers(balancer).items()}


def build(tag: str, folder: Path, count: int = COUNT) -> Release:
    """A release of an image that upstream has just built, for a host with so many engines."""
    standin_engine.variant(tag, env=[SLOW])
    return rollouts.lock(tag, folder).but(replicas=count, nvidia_driver=NEW, shutdown_timeout=30)


@dataclass
class OneHost:
    """The only host of a lab, over the tests of a module. `release` is what its engines serve; `other` is as good."""

    release: Release
    other: Release
    name: str = HOST
    count: int = COUNT

    @property
    def engines(self) -> list[str]:
        """Names of its engines."""
        return names(self.name, self.count)

    def swap(self) -> None:
        """Note that an upgrade has worked: the other release is served now."""
        self.release, self.other = self.other, self.release

    def fresh(self, **variables: str) -> Release:
        """One like the other that no engine has ever served: it is evaluated."""
        return self.other.but(engine_env={"LAB_TRY": f"{time.time():.3f}", **variables})

    def started(self) -> list[str]:
        """When each engine's unit was started: changes with every restart."""
        return [started(self.name, unit) for unit in units(self.count)]

    def observe(self) -> FleetState:
        """What is there now."""
        active = hosts.exec(self.name, f"systemctl is-active {' '.join(units(self.count))}", check=False).stdout.split()
        return FleetState(
            releases=dict(zip(self.engines, releases(self.name, self.count), strict=True)),
            active={name: state in ("active", "activating") for name, state in zip(self.engines, active, strict=True)},
            servers={BALANCER: states()},
        )

    def agreed(self, release: Release) -> FleetState:
        """What is there, which must be exactly what `barewind status` says."""
        return fleet.agreed(release, look=self.observe)

    def all_serve(self, release: Release, engines: Sequence[str] | None = None) -> bool:
        """Whether these engines serve a release, or all of them, by what is there and by what `barewind status` says."""
        return self.agreed(release).all_serve(release, self.engines if engines is None else engines)

    def await_restarts(self, before: Mapping[int, str]) -> None:
        """Wait until engines, by number, have started another time than then, are healthy, and get requests."""
        address = topology.find(self.name).address

        def back(number: int) -> bool:
            health = f"curl -fs http://{address}:{8000 + number}/health"
            anew = started(self.name, units(self.count)[number]) not in ("", "0", before[number])
            return anew and hosts.exec(self.name, health, check=False).returncode == 0

        for number in before:
            wait.until(partial(back, number), 180, f"{self.engines[number]} does not come back")
        self.settled()

    def settled(self, seconds: float = 240) -> FleetState:
        """What is there once every engine gets requests, or as long as that may take."""
        end = time.monotonic() + seconds
        state = self.observe()
        while time.monotonic() < end and not all(state.states_of(name) == {"UP"} for name in self.engines):
            time.sleep(1)
            state = self.observe()
        return state

    def repair(self) -> None:
        """Have every engine serve what it should: what a user does after a failure."""
        if not self.observe().all_serve(self.release, self.engines):
            assert rollouts.deploy(self.release).status == 0
            assert self.observe().all_serve(self.release, self.engines)


def deployed(folder: Path, size: Size, *, host: str = HOST, count: int = COUNT, keep: bool = False) -> OneHost:
    """A fresh host whose engines serve. `keep`: one that has so many engines already need not be fresh."""
    if not keep or not _has(size, host, count):
        bring_up(size, anew=[host])
    hub_control.reset()
    standin_engine.ensure(Steps())
    assert LAB.barewind("lock", "--update").status == 0
    single = OneHost(build("one", folder, count), build("two", folder, count), host, count)
    assert rollouts.deploy(single.release, *data(allow_downtime=True)).status == 0
    return single


def _has(size: Size, host: str, count: int) -> bool:
    bring_up(size)
    files = hosts.exec(host, "cd /etc/systemd/system && ls -d barewind-engine@*.service", check=False)
    return files.stdout.split() == units(count)
