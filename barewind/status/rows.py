"""The rows of a fleet's status: what a host serves, and the findings that a person should look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from barewind.balancer.commands import STANDBY, Server
from barewind.balancer.maintenance import Maintenance
from barewind.lease.commands import Answer
from barewind.plan.names import UNIT
from barewind.release.history import Event, last

IN_ROTATION = "in rotation"
NOT_A_SERVER = "not a server"


@dataclass(frozen=True)
class EngineRow:
    """An engine. `problem` says why its host does not answer; everything else is unknown then."""

    host: str  # the engine's name: of its host, with its number where the host has several
    planned: str | None  # release; None while the lock does not hold it
    problem: str = ""
    release: str | None = None
    active: bool = False
    healthy: bool = False
    restarts: int = 0  # by systemd, because the engine ended by itself, since its unit was started
    since: str | None = None  # when the unit was started; ISO 8601, UTC, by the host's clock
    running: int | None = None  # requests in the engine's batch; None if it does not tell
    queued: int | None = None  # requests that wait for a place there
    drained: Maintenance | None = None  # who has put the host into maintenance
    events: tuple[Event, ...] = ()  # the last ones, oldest first
    rotation: Mapping[str, str] = field(default_factory=dict)  # by balancer: in rotation, STANDBY, DRAIN, DOWN ...
    share: Mapping[str, float] = field(default_factory=dict)  # percent of each balancer's new requests, by its weight
    machine: str = ""  # its host
    unit: str = UNIT

    @property
    def event(self) -> Event | None:
        """The last event that tells which release serves, or why none does."""
        return last(self.events)

    @property
    def in_rotation(self) -> bool:
        """Whether some balancer sends it requests."""
        return IN_ROTATION in self.rotation.values()

    @property
    def findings(self) -> list[str]:
        """What keeps the host from serving the planned release on every balancer."""
        if self.problem:
            return [f"does not answer: {self.problem}"]
        findings = []
        if not self.active:
            findings.append("its unit does not run")
        elif not self.healthy:
            ended = (
                f" and has ended by itself {self.restarts} times: journalctl -u {self.unit}" if self.restarts else ""
            )
            findings.append(f"its engine is not healthy{ended}")
        if self.planned is None:
            findings.append("what it shall run is not locked: barewind lock INVENTORY")
        elif self.release != self.planned:
            findings.append(f"shall run {self.planned}: deploy")
        if self.drained:
            findings.append(f"in maintenance {self.drained.message}; to undrain it: tasks/undrain.py")
        elif problem := self._rotation_problem():
            findings.append(problem)
        return findings

    def as_json(self) -> dict[str, Any]:
        """As `barewind status --json` prints it."""
        row = asdict(self)
        own = {} if row.pop("machine") == self.host else {"machine": self.machine}
        del row["unit"]
        return row | own | {"findings": self.findings}

    def _rotation_problem(self) -> str:
        wanted = (IN_ROTATION, STANDBY)  # a host that stands by does so because somebody wants it to
        out = [f"{state} on {name}" for name, state in self.rotation.items() if state not in wanted]
        if not out:
            return ""
        states = set(self.rotation.values())
        remedy = "deploy, the balancer too" if NOT_A_SERVER in states else "look at its engine and its network"
        if states & {"DRAIN", "MAINT"}:
            remedy = "undrain it: tasks/undrain.py, or deploy"
        return f"{', '.join(out)}; {remedy}"


@dataclass(frozen=True)
class BalancerRow:
    """A balancer. `problem` says why it does not answer."""

    host: str
    problem: str = ""
    running: bool = False
    servers: Mapping[str, Server] = field(default_factory=dict)
    share: Mapping[str, float] = field(default_factory=dict)  # percent of its new requests, by server
    expires: datetime | None = None  # the certificate that HAProxy shows; None: it shows none
    expiry: str = ""  # what a person should know of that

    @property
    def findings(self) -> list[str]:
        """What keeps the host from balancing, or soon will."""
        if self.problem:
            return [f"does not answer: {self.problem}"]
        if not self.running:
            return ["HAProxy does not run: systemctl status haproxy"]
        findings = [] if any(server.in_rotation for server in self.servers.values()) else ["no engine is in rotation"]
        return findings + ([f"its certificate {self.expiry}; renew it, and deploy"] if self.expiry else [])

    def as_json(self) -> dict[str, Any]:
        """As `barewind status --json` prints it."""
        servers = {
            name: {
                "state": rotation_state(server),
                "weight": server.weight,
                "requests": server.sessions,
                "queued": server.queued,
            }
            for name, server in self.servers.items()
        }
        row = {"host": self.host, "problem": self.problem, "running": self.running, "servers": servers}
        row["certificate_expires"] = None if self.expires is None else f"{self.expires:%Y-%m-%dT%H:%M:%SZ}"
        return row | {"findings": self.findings}


@dataclass(frozen=True)
class Status:
    """The whole fleet. `leases` are the answers of the hosts whose lease a run holds."""

    engines: tuple[EngineRow, ...]
    balancers: tuple[BalancerRow, ...]
    leases: Mapping[str, Answer]

    @property
    def rows(self) -> tuple[EngineRow | BalancerRow, ...]:
        """The rows of all hosts."""
        return (*self.engines, *self.balancers)

    @property
    def degraded(self) -> dict[str, list[str]]:
        """Hosts of which some engines are in rotation and others not, by name, with those that are not."""
        hosts: dict[str, list[EngineRow]] = {}
        for row in self.engines:
            hosts.setdefault(row.machine, []).append(row)
        out = {host: [row.host for row in rows if not row.in_rotation] for host, rows in hosts.items()}
        return {host: names for host, names in out.items() if 0 < len(names) < len(hosts[host])}

    @property
    def exit_status(self) -> int:
        """0 all serve the planned release, 1 something differs, 2 a host could not be asked."""
        return 2 if any(row.problem for row in self.rows) else 1 if any(row.findings for row in self.rows) else 0

    def as_json(self) -> dict[str, Any]:
        """As `barewind status --json` prints it."""
        leases = {
            name: {**answer.holder.as_json(), "heard_of": answer.age}
            for name, answer in self.leases.items()
            if answer.holder
        }
        return {
            "engines": [row.as_json() for row in self.engines],
            "balancers": [row.as_json() for row in self.balancers],
            "lease": leases,
            "lock": leases,  # the former name, which scripts may read
            "exit_status": self.exit_status,
        }


def rotation_state(server: Server) -> str:
    """What a balancer does with a server, as rows say it."""
    return IN_ROTATION if server.in_rotation else server.state
