"""Lines of a fleet's status for a person: hosts that are alike share one. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from barewind.engines import start
from barewind.engines.start import READY
from barewind.output.names import fold
from barewind.release.history import Event
from barewind.status.rows import BalancerRow, EngineRow

ENGINES = ("host", "release", "engine", "in rotation", "share", "running", "queued", "since", "last event")
BALANCERS = ("balancer", "servers", "requests", "queued")
_START = "start:"
EVENTS = ("host", "when", "release", "event", "by", "why", "detail")


def alike(engines: tuple[EngineRow, ...]) -> list[tuple[EngineRow, ...]]:
    """Hosts that serve the same in the same way, in the order of the first of each."""
    groups: dict[tuple[str, ...], list[EngineRow]] = {}
    for row in engines:
        # Of one that does not answer nothing is known; why it does not is told below.
        groups.setdefault((*_cells(row)[:4], *([] if row.problem else row.findings)), []).append(row)
    return [tuple(group) for group in groups.values()]


def line(rows: tuple[EngineRow, ...]) -> list[str]:
    """The line of hosts that are alike: requests are summed up, times are from the first to the last."""
    first = rows[0]
    if len(rows) == 1 or first.problem:
        return [fold([row.host for row in rows]), *_cells(first)]
    running, queued = (
        str(sum(numbers)) if (numbers := [number for number in column if number is not None]) else "-"
        for column in ([row.running for row in rows], [row.queued for row in rows])
    )
    times = sorted({row.since for row in rows if row.since})
    since = " to ".join(dict.fromkeys([times[0], times[-1]])) if times else "-"
    return [fold([row.host for row in rows]), *_cells(first)[:4], running, queued, since, "-"]


def events(engines: tuple[EngineRow, ...], *, every: bool) -> list[list[str]]:
    """A line per event, host by host; or with hosts to which the same has happened together, from the first to the last time."""
    groups: dict[tuple[str, ...], list[tuple[str, Event]]] = {}
    for engine in engines:
        seen: Counter[tuple[str, ...]] = Counter()  # the same may happen to a host several times
        for event in engine.events:
            detail = _START if event.phases else _detail(event)  # starts are alike, however long each took
            cells = (event.release, event.event, event.by, _reason(event), detail)
            seen[cells] += 1
            apart = engine.host if every else ""
            groups.setdefault((*cells, str(seen[cells]), apart), []).append((engine.host, event))
    lines = []
    for (release, event_name, by, why, detail, *_), happened in groups.items():
        times = sorted(event.at for _, event in happened)
        when = " to ".join(dict.fromkeys([times[0], times[-1]]))
        told = _starts(happened) if detail == _START else detail
        lines.append([fold([host for host, _ in happened]), when, release, event_name, by, why, told])
    return lines if every else sorted(lines, key=lambda cells: cells[1])


def _starts(starts: Sequence[tuple[str, Event]]) -> str:
    """The phases of a start; of many the longest, with the host that it is of."""
    host, longest = max(starts, key=lambda one: (one[1].phases or {}).get(READY, 0.0))
    of_host = f" (the longest, {host})" if len(starts) > 1 else ""
    return f"{_START} {start.describe(longest.phases or {})}{of_host}"


def _detail(event: Event) -> str:
    return event.detail or ", ".join(f"{name} {value}" for name, value in (event.figures or {}).items())


def _cells(row: EngineRow) -> list[str]:
    if row.problem:
        return ["?"] * 8
    release = row.release or "none"
    if row.planned != row.release:
        release += f" -> {row.planned or 'not locked'}"
    engine = "healthy" if row.active and row.healthy else _not_healthy(row) if row.active else "stopped"
    using = sum(state == "in rotation" for state in row.rotation.values())
    event = row.event
    return [
        release,
        engine,
        f"{using} of {len(row.rotation)}",
        ", ".join(f"{percent:g} %" for percent in dict.fromkeys(row.share.values())) or "-",
        *("-" if number is None else str(number) for number in (row.running, row.queued)),
        row.since or "-",
        f"{event.event} {event.release}, {event.at}, {event.by}" if event else "-",
    ]


def _reason(event: Event) -> str:
    words = (["rollback"] if event.rollback else []) + ([event.why] if event.why else [])
    return ": ".join(words)


def balancer_line(row: BalancerRow) -> list[str]:
    servers = list(row.servers.values())
    in_rotation = sum(server.in_rotation for server in servers)
    using = (
        "?" if row.problem else f"{in_rotation} of {len(servers)} in rotation" if row.running else "HAProxy is stopped"
    )
    return [
        row.host,
        using,
        str(sum(server.sessions for server in servers)),
        str(sum(server.queued for server in servers)),
    ]


def _not_healthy(row: EngineRow) -> str:
    return f"restarted {row.restarts} times" if row.restarts else "not healthy"
