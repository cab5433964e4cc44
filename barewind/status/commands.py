"""Commands that print how each host is, and the fleet's status from their answers.

One command per host asks for everything; the answers are of about the same moment, not of exactly the same.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from barewind.balancer import commands as balancer
from barewind.balancer import maintenance, renewal
from barewind.balancer.certificate import expiry
from barewind.balancer.commands import Rotation
from barewind.engines import ENGINES
from barewind.errors import BarewindError
from barewind.hosts.script import FactProcessError, script, split
from barewind.lease import commands as lease
from barewind.lease.commands import Answer
from barewind.plan.engine import EnginePlan
from barewind.release.commands import read_engine, show_release, show_unit
from barewind.release.history import EVENTS_FILE, of_replica, read_events
from barewind.rollout import traffic
from barewind.spec.site import Site
from barewind.status.rows import NOT_A_SERVER, BalancerRow, EngineRow, Status, rotation_state

_HEALTH = 20  # seconds until the engine has answered its health check: under load it answers late
_METRICS = 5  # seconds until it has sent its metrics; the whole look may take 30 (cli/status.py)
_EVENTS = 30  # events shown of an engine, the last ones


def looks(site: Site, plans: Mapping[str, EnginePlan]) -> dict[str, str]:
    """Shell command for each host, run as root, that prints how the host is; `read` reads the output."""
    hosts = {name: _engine_look([plans[spec.name] for spec in specs]) for name, specs in site.engine_hosts.items()}
    return hosts | dict.fromkeys(site.balancers, _BALANCER_LOOK)


def read(site: Site, plans: Mapping[str, EnginePlan], answers: Mapping[str, tuple[str, str]]) -> Status:
    """The fleet's status from what each host printed; the second part of an answer says why there is no output."""
    sections: dict[str, dict[str, list[str]]] = {}
    problems: dict[str, str] = {}
    leases: dict[str, Answer] = {}
    for name, (output, problem) in answers.items():
        try:
            sections[name] = {} if problem else split(output.splitlines())
        except FactProcessError as error:
            problem = str(error)
        if problem:
            problems[name] = problem.splitlines()[-1]
            continue
        try:
            answer = lease.read("\n".join(sections[name].get("lease", [])), name)
        except BarewindError:  # tells nothing about what the host serves
            continue
        if answer.holder:
            leases[name] = answer
    balancers = tuple(_balancer(name, sections.get(name, {}), problems.get(name, "")) for name in site.balancers)
    engines = (
        _engine(plans[spec.name], place, sections.get(host, {}), problems.get(host, ""))
        for host, specs in site.engine_hosts.items()
        for place, spec in enumerate(specs)
    )
    rows = [replace(row, rotation=_rotation(row.host, balancers), share=_share(row.host, balancers)) for row in engines]
    return Status(tuple(rows), balancers, leases)


def _engine_look(plans: Sequence[EnginePlan]) -> str:
    """Of the engines of a host: the sections of the first bear their plain names, those of another its place behind them."""
    sections: dict[str, str] = {}
    for place, plan in enumerate(plans):
        sections |= {f"{name}{_mark(place)}": command for name, command in _sections(plan).items()}
    return script(
        **sections,
        drained=maintenance.READ,
        events=f"tail -n {_EVENTS * len(plans)} {EVENTS_FILE}",
        lease=f"( {lease.look()} )",
    )


def _sections(plan: EnginePlan) -> dict[str, str]:
    curl = "curl -sS --noproxy '*' -m"
    paths = ENGINES[plan.spec.engine]
    health = shlex.quote(plan.url + paths.ready_path)
    names = "|".join((*_running(), *_queued()))
    unit = plan.names.unit
    return {
        "state": show_unit(unit),
        "restarts": f"systemctl show -P NRestarts {unit}",
        "since": f"""t=$(systemctl show -P ActiveEnterTimestamp {unit}) && [ -n "$t" ] && date -u -d "$t" +%Y-%m-%dT%H:%M:%SZ""",
        "release": show_release(plan.names.container),
        "health": f"{curl} {_HEALTH} -o /dev/null -w '%{{http_code}}' {health}",
        "metrics": f"{curl} {_METRICS} {shlex.quote(plan.url + paths.metrics.path)} | grep -E '^({names})[{{ ]'",
    }


def _mark(place: int) -> str:
    return f"_{place}" if place else ""


_BALANCER_LOOK = script(
    rotation=f"( {balancer.show_servers()} )", certificate=f"( {renewal.look()} )", lease=f"( {lease.look()} )"
)


def _engine(plan: EnginePlan, place: int, sections: dict[str, list[str]], problem: str) -> EngineRow:
    if problem:
        return EngineRow(plan.name, plan.release, problem, machine=plan.spec.host, unit=plan.names.unit)

    def section(name: str) -> list[str]:
        return sections.get(f"{name}{_mark(place)}", [])

    running = read_engine({name: section(name) for name in ("state", "release")})
    metrics = section("metrics") if running["active"] else []
    return EngineRow(
        host=plan.name,
        machine=plan.spec.host,
        unit=plan.names.unit,
        planned=plan.release,
        release=running["release"],
        active=running["active"],
        healthy=section("health") == ["200"],
        restarts=_whole(section("restarts")),
        since=next(iter(section("since")), None) if running["active"] else None,
        running=_sum(metrics, _running()),
        queued=_sum(metrics, _queued()),
        drained=maintenance.read(sections.get("drained", [])),
        events=tuple(of_replica(read_events(sections.get("events", [])), plan.spec.replica)),
    )


def _balancer(name: str, sections: dict[str, list[str]], problem: str) -> BalancerRow:
    if not problem:
        try:
            rotation: Rotation = balancer.read("\n".join(sections.get("rotation", [])), name)
            share = {server: round(percent, 1) for server, percent in traffic.parts(rotation).items()}
            row = BalancerRow(name, running=rotation.running, servers=rotation.servers, share=share)
            shown = renewal.read(sections.get("certificate", []))
            if shown is None:
                return row
            ending = expiry(shown.begins, shown.expires, datetime.now(UTC))
            return replace(row, expires=shown.expires, expiry=ending)
        except BarewindError as error:
            problem = str(error).removeprefix(f"{name}: ")
    return BalancerRow(name, problem)


def _rotation(host: str, balancers: tuple[BalancerRow, ...]) -> dict[str, str]:
    """What each balancer does with a host; a balancer that does not answer or does not run has a finding of its own."""
    return {
        row.host: rotation_state(row.servers[host]) if host in row.servers else NOT_A_SERVER
        for row in balancers
        if row.running
    }


def _share(host: str, balancers: tuple[BalancerRow, ...]) -> dict[str, float]:
    return {row.host: row.share[host] for row in balancers if host in row.share}


def _running() -> tuple[str, ...]:
    """The gauge of requests that run, of every engine: a host may still run another than is planned."""
    return tuple(name for engine in ENGINES.values() for name in engine.metric_names("requests_running"))


def _queued() -> tuple[str, ...]:
    """The gauge of requests that wait, of every engine."""
    return tuple(name for engine in ENGINES.values() for name in engine.metric_names("requests_waiting"))


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
