"""How a fleet is, at this moment. Pure: a command per host, what hosts answer read back, rows and findings out.

One command per host tells everything; the answers are of about the same moment, not of exactly the same.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from pyinfra.api.exceptions import FactProcessError

from barewind import balancer, catalog, deliberate, fleet_lock, traffic
from barewind.balancer import Rotation, Server
from barewind.deliberate import Mark
from barewind.errors import BarewindError
from barewind.facts import engine, script, split
from barewind.fleet_lock import Answer
from barewind.history import EVENTS_FILE, Event, last, read_events
from barewind.plan import CONTAINER, EnginePlan
from barewind.render import UNIT
from barewind.site import Site

_HEALTH = 20  # seconds an engine gets for its health: one that is loaded answers late
_ANSWER = 5  # seconds for its figures; the host itself gets 30 for all of it (commands/status.py)
_EVENTS = 30  # the last ones

_RUNNING = ("vllm:num_requests_running", "sglang:num_running_reqs")
_QUEUED = ("vllm:num_requests_waiting", "sglang:num_queue_reqs")


@dataclass(frozen=True)
class EngineRow:
    """One engine host. `problem`: why it does not answer; everything else is unknown then."""

    host: str
    planned: str | None  # release; None while the lock does not hold it
    problem: str = ""
    release: str | None = None
    active: bool = False
    healthy: bool = False
    restarts: int = 0  # how often the engine ended by itself since its unit was started, and was begun anew by systemd
    since: str | None = None  # the unit runs; ISO 8601, UTC, by the host's clock
    running: int | None = None  # requests, as the engine counts them; None if it does not say
    queued: int | None = None
    drained: Mark | None = None  # on purpose
    events: tuple[Event, ...] = ()  # the last ones, oldest first
    rotation: Mapping[str, str] = field(
        default_factory=dict
    )  # on each balancer that has it: in rotation, STANDBY, DRAIN, DOWN ...
    share: Mapping[str, float] = field(default_factory=dict)  # of each balancer's new requests, by its weight; percent

    @property
    def event(self) -> Event | None:
        """The one that says how the host stands."""
        return last(self.events)

    @property
    def findings(self) -> list[str]:
        """What keeps it from serving the planned release on every balancer."""
        if self.problem:
            return [f"does not answer: {self.problem}"]
        found = []
        if not self.active:
            found.append("its unit does not run")
        elif not self.healthy:
            ended = f" and has ended by itself {self.restarts} times: journalctl -u {UNIT}" if self.restarts else ""
            found.append(f"its engine is not healthy{ended}")
        if self.planned is None:
            found.append("what it shall run is not locked: barewind lock INVENTORY")
        elif self.release != self.planned:
            found.append(f"shall run {self.planned}: deploy")
        if self.drained:
            found.append(f"drained on purpose {self.drained.said}; return it: tasks/undrain.py")
        else:
            well = (IN_ROTATION, balancer.STANDBY)  # one that stands by does so because somebody wants it to
            out = [f"{state} on {name}" for name, state in self.rotation.items() if state not in well]
            if out:
                states = set(self.rotation.values())
                remedy = "deploy, the balancer too" if _UNKNOWN in states else "look at its engine and its network"
                if states & {"DRAIN", "MAINT"}:
                    remedy = "return it: tasks/undrain.py, or deploy"
                found.append(f"{', '.join(out)}; {remedy}")
        return found

    def as_json(self) -> dict[str, Any]:
        """As `barewind status --json` prints it."""
        return asdict(self) | {"findings": self.findings}


IN_ROTATION, _UNKNOWN = "in rotation", "not a server"


@dataclass(frozen=True)
class BalancerRow:
    """One balancer. `problem`: why it does not answer."""

    host: str
    problem: str = ""
    running: bool = False
    servers: Mapping[str, Server] = field(default_factory=dict)
    share: Mapping[str, float] = field(default_factory=dict)  # of its new requests, by server; percent

    @property
    def findings(self) -> list[str]:
        """What keeps it from balancing."""
        if self.problem:
            return [f"does not answer: {self.problem}"]
        if not self.running:
            return ["HAProxy does not run: systemctl status haproxy"]
        return [] if any(one.in_rotation for one in self.servers.values()) else ["no engine is in rotation"]

    def as_json(self) -> dict[str, Any]:
        """As `barewind status --json` prints it."""
        servers = {
            name: {"state": _state(one), "weight": one.weight, "requests": one.sessions, "queued": one.queued}
            for name, one in self.servers.items()
        }
        found = {"host": self.host, "problem": self.problem, "running": self.running, "servers": servers}
        return found | {"findings": self.findings}


@dataclass(frozen=True)
class Status:
    """The whole fleet. `locks`: whoever holds the lock of the fleet, by host."""

    engines: tuple[EngineRow, ...]
    balancers: tuple[BalancerRow, ...]
    locks: Mapping[str, Answer]

    @property
    def rows(self) -> tuple[EngineRow | BalancerRow, ...]:
        """Every host."""
        return (*self.engines, *self.balancers)

    @property
    def exit_status(self) -> int:
        """0 all serve the planned release, 1 something differs, 2 a host could not be asked."""
        return 2 if any(row.problem for row in self.rows) else 1 if any(row.findings for row in self.rows) else 0

    def as_json(self) -> dict[str, Any]:
        """As `barewind status --json` prints it."""
        return {
            "engines": [row.as_json() for row in self.engines],
            "balancers": [row.as_json() for row in self.balancers],
            "lock": {
                name: {**one.owner.as_json(), "heard_of": one.age} for name, one in self.locks.items() if one.owner
            },
            "exit_status": self.exit_status,
        }


def commands(site: Site, plans: Mapping[str, EnginePlan]) -> dict[str, str]:
    """What to run on each host, as root; `read` reads what they print."""
    return {name: _of_engine(plan) for name, plan in plans.items()} | dict.fromkeys(site.balancers, _OF_BALANCER)


def read(site: Site, plans: Mapping[str, EnginePlan], answers: Mapping[str, tuple[str, str]]) -> Status:
    """The fleet from what each host printed; the second of an answer says why there is none."""
    found: dict[str, dict[str, list[str]]] = {}
    problems: dict[str, str] = {}
    locks: dict[str, Answer] = {}
    for name, (output, problem) in answers.items():
        try:
            found[name] = {} if problem else split(output.splitlines())
        except FactProcessError as error:
            problem = str(error)
        if problem:
            problems[name] = problem.splitlines()[-1]
            continue
        try:
            lock = fleet_lock.read("\n".join(found[name].get("lock", [])), name)
        except BarewindError:  # says nothing about what the host serves
            continue
        if lock.owner:
            locks[name] = lock
    balancers = tuple(_balancer(name, found.get(name, {}), problems.get(name, "")) for name in site.balancers)
    engines = tuple(_engine(name, plan, found.get(name, {}), problems.get(name, "")) for name, plan in plans.items())
    seen = [replace(row, rotation=_rotation(row.host, balancers), share=_share(row.host, balancers)) for row in engines]
    return Status(tuple(seen), balancers, locks)


def _of_engine(plan: EnginePlan) -> str:
    curl = "curl -sS --noproxy '*' -m"
    health = shlex.quote(plan.url + catalog.engines()[plan.spec.engine].health_path)
    names = "|".join((*_RUNNING, *_QUEUED))
    return script(
        state=engine.state(UNIT),
        restarts=f"systemctl show -P NRestarts {UNIT}",
        since=f"""t=$(systemctl show -P ActiveEnterTimestamp {UNIT}) && [ -n "$t" ] && date -u -d "$t" +%Y-%m-%dT%H:%M:%SZ""",
        release=engine.release(CONTAINER),
        health=f"{curl} {_HEALTH} -o /dev/null -w '%{{http_code}}' {health}",
        metrics=f"{curl} {_ANSWER} {shlex.quote(f'{plan.url}/metrics')} | grep -E '^({names})[{{ ]'",
        drained=deliberate.READ,
        events=f"tail -n {_EVENTS} {EVENTS_FILE}",
        lock=f"( {fleet_lock.look()} )",
    )


_OF_BALANCER = script(rotation=f"( {balancer.rotation()} )", lock=f"( {fleet_lock.look()} )")


def _engine(name: str, plan: EnginePlan, found: dict[str, list[str]], problem: str) -> EngineRow:
    if problem:
        return EngineRow(name, plan.release, problem)
    running = engine.read(found)
    metrics = found.get("metrics", []) if running["active"] else []
    return EngineRow(
        host=name,
        planned=plan.release,
        release=running["release"],
        active=running["active"],
        healthy=found.get("health") == ["200"],
        restarts=_whole(found.get("restarts", [])),
        since=next(iter(found.get("since", [])), None) if running["active"] else None,
        running=_sum(metrics, _RUNNING),
        queued=_sum(metrics, _QUEUED),
        drained=deliberate.read(found.get("drained", [])),
        events=tuple(read_events(found.get("events", []))),
    )


def _balancer(name: str, found: dict[str, list[str]], problem: str) -> BalancerRow:
    if not problem:
        try:
            seen: Rotation = balancer.read("\n".join(found.get("rotation", [])), name)
            share = {one: round(traffic.part(seen, [one]) or 0, 1) for one in seen.servers}
            return BalancerRow(name, running=seen.running, servers=seen.servers, share=share)
        except BarewindError as error:
            problem = str(error).removeprefix(f"{name}: ")
    return BalancerRow(name, problem)


def _rotation(host: str, balancers: tuple[BalancerRow, ...]) -> dict[str, str]:
    """What each balancer does with a host; one that cannot be asked or does not run has a finding of its own."""
    running = [one for one in balancers if one.running]
    return {one.host: _state(one.servers[host]) if host in one.servers else _UNKNOWN for one in running}


def _share(host: str, balancers: tuple[BalancerRow, ...]) -> dict[str, float]:
    return {one.host: one.share[host] for one in balancers if host in one.share}


def _state(server: Server) -> str:
    return IN_ROTATION if server.in_rotation else server.state


def _whole(lines: list[str]) -> int:
    return int(lines[0]) if lines and lines[0].isdigit() else 0


def _sum(lines: list[str], names: tuple[str, ...]) -> int | None:
    """A gauge, summed over what it is labelled with: an engine of several parts has several."""
    values = []
    for line in lines:
        if line.split("{")[0].split(" ")[0] in names:
            try:
                values.append(float(line.rsplit(" ", 1)[1]))
            except (ValueError, IndexError):
                return None
    return round(sum(values)) if values else None
