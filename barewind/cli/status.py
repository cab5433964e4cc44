"""`barewind status`: what every host serves, at this moment."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import click

from barewind.cli.options import all_option, data_option, epilog, inventory_argument, site_of
from barewind.output.names import APART, fold, told
from barewind.output.streams import gone

if TYPE_CHECKING:
    from barewind.status.rows import Status

_LOOK = 30  # seconds a host gets to answer
_PAUSE = 5  # seconds between looks unless others are given


@click.command(
    epilog=epilog(
        "0: all serve the planned release; 1: something differs; 2: a host could not be asked, or wrong use",
        "barewind status inventory/prod.py",
        "barewind status inventory/prod.py --watch 10",
    )
)
@inventory_argument
@data_option
@click.option("--json", "as_json", is_flag=True, help="Print one object; with --watch, one per line and look.")
@click.option(
    "--watch",
    type=click.FloatRange(min=0.5),
    is_flag=False,
    flag_value=_PAUSE,
    metavar="[SECONDS]",
    help=f"Look again and again until Ctrl-C, every {_PAUSE} s or as often as given.",
)
@click.option("--history", is_flag=True, help="Show also what became of each host's last releases.")
@all_option
@click.pass_context
def status(
    ctx: click.Context,
    inventory_file: str,
    data: tuple[str, ...],
    as_json: bool,
    watch: float | None,
    history: bool,
    every: bool,
) -> None:
    """Show what every host serves.

    That is release, health, rotation, requests, and which run holds the lease. Nothing is changed.
    """
    site = site_of(inventory_file, data)
    from barewind.hosts.poll import Poll
    from barewind.hosts.reach import Hosts
    from barewind.lock import file as lock
    from barewind.plan.engine import plan_site
    from barewind.status import commands

    plans = plan_site(site, lock.read(site.lock_file))
    hosts, looks = Hosts(inventory_file, data), commands.looks(site, plans)

    def look() -> Status:
        return commands.read(site, plans, hosts.ask(looks, timeout=_LOOK))

    def show(fleet: Status) -> None:
        if as_json:
            click.echo(json.dumps(fleet.as_json(), indent=2 if watch is None else None))
        else:
            _show(fleet, with_history=history, every=every or len(fleet.engines) <= APART)

    fleet = look()
    with _until_interrupted():
        show(fleet)
        poll = Poll(watch) if watch is not None else None
        while poll is not None and not gone(sys.stdout) and poll.pause():
            fleet = look()
            if not as_json:
                click.clear()
            show(fleet)
    ctx.exit(fleet.exit_status)


@contextmanager
def _until_interrupted() -> Iterator[None]:
    """Ctrl-C ends the block, and is no error."""
    from barewind.hosts.interrupt import interruptible

    with suppress(KeyboardInterrupt), interruptible():
        yield


def _show(fleet: Status, *, with_history: bool, every: bool) -> None:
    """Print tables of hosts, then findings and leases, then each host's history."""
    from rich.console import Console

    from barewind.output import tables
    from barewind.status import lines

    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = max(console.width, 200)  # columns: a log has no screen to fit
    groups = [(engine,) for engine in fleet.engines] if every else lines.alike(fleet.engines)
    tables.fit(console, lines.ENGINES, [lines.line(rows) for rows in groups])
    if fleet.balancers:
        tables.fit(console, lines.BALANCERS, [lines.balancer_line(row) for row in fleet.balancers])
    for remark in _remarks(fleet, every=every):
        tables.say(console, remark)
    if with_history:
        tables.fit(console, lines.EVENTS, lines.events(fleet.engines, every=every))


def _remarks(fleet: Status, *, every: bool) -> list[str]:
    from barewind.lease.commands import by_holder, heard_of

    findings = ((row.host, "; ".join(row.findings)) for row in fleet.rows if row.findings)
    lines = told(findings, every=every) or ["Every host serves the planned release."]
    lines += [f"{host}: degraded: {', '.join(out)} out of rotation" for host, out in fleet.degraded.items()]
    for holder, names in by_holder(fleet.leases).items():
        lines.append(f"lease: {holder}, {heard_of(fleet.leases[name] for name in names)} (on {fold(names)})")
    return lines
