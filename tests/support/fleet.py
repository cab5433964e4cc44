"""Three engine hosts behind two balancers: what really runs there, past SSH, and whether `barewind status` says the same."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab import topology, wait
from lab.hosts import hosts
from tests.support import releases
from tests.support.commands import answer
from tests.support.lab import ENGINE_UNIT, LAB, servers
from tests.support.releases import Release

ENGINES = ("engine1", "engine2", "engine3")
BALANCERS = ("lb1", "lb2")
MAINTENANCE_FILE = "/etc/barewind/drained.json"

_LABEL = '{{index .Config.Labels "barewind.release"}}'
_ENGINE_STATE = f"systemctl is-active {ENGINE_UNIT}; docker inspect -f '{_LABEL}' barewind-engine"


@dataclass(frozen=True)
class FleetState:
    """Release and unit of each engine host, and what each balancer does with it. Hosts that are off are left out."""

    releases: dict[str, str] = field(default_factory=dict)
    active: dict[str, bool] = field(default_factory=dict)
    servers: dict[str, dict[str, str]] = field(default_factory=dict)

    def states_of(self, name: str) -> set[str]:
        """What the balancers do with a host: UP, DOWN, DRAIN."""
        return {states[name] for states in self.servers.values() if name in states}

    def serves(self, name: str, release: Release) -> bool:
        """Whether a host runs a release, and every balancer sends it requests."""
        return self.releases.get(name) == release.id and self.active[name] and self.states_of(name) == {"UP"}

    def all_serve(self, release: Release, names: Sequence[str] = ENGINES) -> bool:
        """Whether each of these hosts serves a release."""
        return all(self.serves(name, release) for name in names)


@dataclass
class Fleet:
    """The fleet over the tests of a session. `release` is what every host serves; `other` is as good."""

    release: Release
    other: Release
    folder: Path

    def swap(self) -> None:
        """Note that an upgrade has worked: the other release is served now."""
        self.release, self.other = self.other, self.release

    def fresh(self, **variables: str) -> Release:
        """One like the other that no host has ever served: it is evaluated."""
        return self.other.env(LAB_TRY=f"{time.time():.3f}", **variables)

    def in_order(self) -> bool:
        """Whether every host serves what it should, on every balancer, and nothing is drained on purpose."""
        state = observe()
        return not in_maintenance() and state.all_serve(self.release) and set(state.servers) == set(BALANCERS)

    def repair(self) -> None:
        """Do what a user does after a failure: deploy what is good."""
        end_maintenance()
        assert releases.deploy(self.release).status == 0
        assert self.in_order()


def observe(*, off: Sequence[str] = ()) -> FleetState:
    """Ask the hosts and their HAProxy now. `off`: hosts that cannot be asked."""
    engines, balancers = ([name for name in names if name not in off] for names in (ENGINES, BALANCERS))
    state = FleetState()
    with ThreadPoolExecutor() as pool:
        of_engines, of_balancers = pool.map(_ask, engines), pool.map(servers, balancers)
        for name, (unit, *release) in zip(engines, of_engines, strict=True):
            state.active[name] = unit in ("active", "activating")  # the latter: systemd begins it again and again
            state.releases[name] = release[0] if release else ""
        for name, known in zip(balancers, of_balancers, strict=True):
            state.servers[name] = {server: row.state for server, row in known.items()}
    return state


def settled(seconds: float = 90) -> FleetState:
    """What is there once every health check has come to its end: a host that returns may be "UP 1/3" for a moment."""
    end = time.monotonic() + seconds
    state = observe()
    while time.monotonic() < end and not all(state.states_of(name) == {"UP"} for name in ENGINES):
        time.sleep(1)
        state = observe()
    return state


def await_health(name: str) -> None:
    """Wait until a host's engine is healthy."""
    health = f"curl -fs http://{topology.find(name).address}:8000/health"
    wait.until(lambda: hosts.exec(name, health, check=False).returncode == 0, 180, f"{name} does not answer")


def end_maintenance() -> None:
    """Forget which hosts were drained on purpose: the next deploy returns them."""
    for name in ENGINES:
        hosts.exec(name, f"rm -f {MAINTENANCE_FILE}")


def in_maintenance() -> list[str]:
    """Hosts that are drained on purpose."""
    return [name for name in ENGINES if hosts.exec(name, f"test -e {MAINTENANCE_FILE}", check=False).returncode == 0]


def status(release: Release) -> dict[str, Any]:
    """What `barewind status --json` prints."""
    done = answer("barewind", "status", LAB.inventory, "--json", *release.options)
    report: dict[str, Any] = json.loads(done.stdout)
    assert report["exit_status"] == done.returncode
    return report


def agreed(
    release: Release,
    *,
    off: Sequence[str] = (),
    seconds: float = 120,
    look: Callable[[], FleetState] | None = None,
) -> FleetState:
    """What is there, which must be exactly what `barewind status` says; an engine that comes and goes is looked at again.

    `look`: what is there, where it is another fleet than this one.
    """
    end = time.monotonic() + seconds
    while True:
        state, report = look() if look else observe(off=off), status(release)
        differences = _differences(state, report, release, off)
        if not differences or time.monotonic() > end:
            assert not differences, "\n".join(differences)
            return state


def _differences(state: FleetState, report: dict[str, Any], release: Release, off: Sequence[str]) -> list[str]:
    engines = {row["host"]: row for row in report["engines"]}
    balancers = {row["host"]: row for row in report["balancers"]}
    pairs: list[tuple[str, object, object]] = [
        ("lock", report["lock"], {}),  # whoever deployed has ended
        ("silent", {name for name, row in (engines | balancers).items() if row["problem"]}, set(off)),
    ]
    for name, active in state.active.items():
        row = engines[name]
        reported = {lb: rotation == "in rotation" for lb, rotation in row["rotation"].items()}
        seen = {lb: states[name] == "UP" for lb, states in state.servers.items() if name in states}
        pairs += [
            (f"{name} active", row["active"], active),
            (f"{name} release", row["release"] or "", state.releases[name]),
            (f"{name} planned", row["planned"], release.id),
            (f"{name} in rotation", reported, seen),
        ]
    for lb, states in state.servers.items():
        reported = {name: row["state"] == "in rotation" for name, row in balancers[lb]["servers"].items()}
        pairs.append((lb, reported, {name: seen == "UP" for name, seen in states.items()}))
    return [f"{what}: status says {reported}, there is {seen}" for what, reported, seen in pairs if reported != seen]


def _ask(name: str) -> list[str]:
    return hosts.exec(name, _ENGINE_STATE, check=False, timeout=30).stdout.splitlines()
