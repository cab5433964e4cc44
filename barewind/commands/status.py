"""`barewind status`: what every host serves, at this moment."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import click

from barewind.commands import data_option, inventory_argument, site_of

if TYPE_CHECKING:
    from barewind.status import EngineRow, Status

_LOOK = 30  # seconds a host gets to answer
_PAUSE = 5  # seconds between looks, if nothing else is said


@click.command()
@inventory_argument
@data_option
@click.option("--json", "as_json", is_flag=True, help="One object; with --watch, one per line and look.")
@click.option(
    "--watch",
    type=click.FloatRange(min=0.5),
    is_flag=False,
    flag_value=_PAUSE,
    metavar="[SECONDS]",
    help=f"Look again and again, every {_PAUSE} s or as said, until Ctrl-C.",
)
@click.option("--history", is_flag=True, help="What became of each release on each host, as far as it was lately.")
@click.pass_context
def status(
    ctx: click.Context,
    inventory_file: str,
    data: tuple[str, ...],
    as_json: bool,
    watch: float | None,
    history: bool,
) -> None:
    """Show what every host serves: release, health, rotation, requests, and who deploys. Changes nothing.

    Exit status 0: all serve the planned release; 1: something differs; 2: a host could not be asked.
    """
    site = site_of(inventory_file, data)
    from barewind import lock
    from barewind import status as fleet
    from barewind.plan import plan_site
    from barewind.reach import Hosts

    plans = plan_site(site, lock.read(site.lock_file))
    hosts, commands = Hosts(inventory_file, data), fleet.commands(site, plans)

    def look() -> Status:
        return fleet.read(site, plans, hosts.ask(commands, timeout=_LOOK))

    def say(found: Status) -> None:
        if as_json:
            click.echo(json.dumps(found.as_json(), indent=2 if watch is None else None))
        else:
            show(found, with_history=history)

    found = look()
    with _until_interrupted():
        say(found)
        while watch is not None:
            time.sleep(watch)
            found = look()
            if not as_json:
                click.clear()
            say(found)
    ctx.exit(found.exit_status)


@contextmanager
def _until_interrupted() -> Iterator[None]:
    """Ctrl-C is how a watch ends, no error."""
    import gevent

    hub = gevent.get_hub()
    hub.NOT_ERROR = (*hub.NOT_ERROR, KeyboardInterrupt)  # else it prints where it was
    with suppress(KeyboardInterrupt):
        yield


def show(found: Status, *, with_history: bool = False) -> None:
    """Print it for a person: a row per host, then what differs, then what came before."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = max(console.width, 200)  # columns: a log has no screen to fit
    table = Table(
        "host", "release", "engine", "in rotation", "share", "running", "queued", "since", "last event", box=None
    )
    for row in found.engines:
        table.add_row(row.host, *_cells(row))
    console.print(table)
    table = Table("balancer", "servers", "requests", "queued", box=None)
    for one in found.balancers:
        servers = list(one.servers.values())
        using = sum(server.in_rotation for server in servers)
        said = "?" if one.problem else f"{using} of {len(servers)} in rotation" if one.running else "HAProxy is stopped"
        requests, queued = (str(sum(each)) for each in ([s.sessions for s in servers], [s.queued for s in servers]))
        table.add_row(one.host, said, requests, queued)
    if found.balancers:
        console.print(table)
    for text in _remarks(found):
        console.print(text, soft_wrap=True)
    if with_history:
        table = Table("host", "when", "release", "event", "by", "why", "detail", box=None)
        for row in found.engines:
            for event in row.events:
                detail = event.detail or ", ".join(f"{name} {value}" for name, value in (event.figures or {}).items())
                table.add_row(row.host, event.at, event.release, event.event, event.by, event.why or "", detail)
        console.print(table)


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


def _not_healthy(row: EngineRow) -> str:
    return f"restarted {row.restarts} times" if row.restarts else "not healthy"


def _remarks(found: Status) -> list[str]:
    lines = [f"{row.host}: {'; '.join(row.findings)}" for row in found.rows if row.findings]
    if not lines:
        lines.append("Every host serves the planned release.")
    owners: dict[str, list[str]] = {}
    for name, answer in found.locks.items():
        owners.setdefault(f"{answer.owner}, last heard of {answer.age} s ago", []).append(name)
    lines += [f"lock of the fleet: {owner} (on {', '.join(names)})" for owner, names in owners.items()]
    return lines
