"""`barewind keys usage`: what each key used, day by day."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING

import click

from barewind.cli.options import data_option, endpoint_of, epilog, inventory_argument
from barewind.cli.values import Moment
from barewind.errors import BarewindError

if TYPE_CHECKING:
    from barewind.keys.usage import By, Sum

_COUNT = 600  # seconds a balancer gets: it may have a day's log to count


@click.command(
    epilog=epilog(
        "0: of every balancer; 1: an inventory that is not right; 2: a balancer could not be asked, or wrong use",
        "barewind keys usage inventory/prod.py",
        "barewind keys usage inventory/prod.py --since 30d --by team",
        "barewind keys usage inventory/prod.py --since 2026-11-01 --csv > november.csv",
    )
)
@inventory_argument
@click.option(
    "--since",
    type=Moment(past=True),
    default="7d",
    show_default=True,
    metavar="TIME",
    help="From that day on, whole days in UTC: 7d, 2026-11-01.",
)
@click.option(
    "--by", type=click.Choice(["team", "id", "day"]), help="Sum over all else. Default: each key on each day."
)
@click.option("--json", "as_json", is_flag=True, help="Print a list of objects.")
@click.option("--csv", "as_csv", is_flag=True, help="Print comma-separated values.")
@data_option
@click.pass_context
def usage(
    ctx: click.Context,
    inventory_file: str,
    since: datetime,
    by: By | None,
    as_json: bool,
    as_csv: bool,
    data: tuple[str, ...],
) -> None:
    """Show requests, failures and tokens of each key and day, summed over balancers, from their logs."""
    if as_json and as_csv:
        raise click.UsageError("--json and --csv: choose one.")
    site = endpoint_of(inventory_file, data)
    from barewind.hosts.reach import Hosts
    from barewind.keys import usage as sums

    looks = dict.fromkeys(site.balancers, sums.show(since.date()))
    found, silent = [], []
    for name, (output, problem) in Hosts(inventory_file, data).ask(looks, timeout=_COUNT).items():
        if problem:
            silent.append(f"{name}: {problem.splitlines()[-1]}")
            continue
        try:
            found.append(sums.read(output, name))
        except BarewindError as error:
            silent.append(str(error))
    totals = sums.together(found, by)
    if as_json:
        click.echo(json.dumps([dict(zip(sums.columns(by), row, strict=True)) for row in sums.rows(totals)], indent=2))
    elif as_csv:
        click.echo(sums.as_csv(totals, by), nl=False)
    else:
        _show(totals, by, since)
    for problem in silent:
        click.echo(f"{problem}. What it has carried is not in these sums", err=True)
    ctx.exit(2 if silent else 0)


def _show(totals: dict[tuple[str, ...], Sum], by: By | None, since: datetime) -> None:
    from rich.console import Console

    from barewind.keys import usage as sums
    from barewind.output import tables

    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = max(console.width, 200)  # columns: a log has no screen to fit
    if not totals:
        tables.say(console, f"No requests since {since:%Y-%m-%d}.")
        return
    rows = [[cell if isinstance(cell, str) else f"{cell:,}" for cell in row] for row in sums.rows(totals)]
    tables.fit(console, [name.replace("_", " ") for name in sums.columns(by)], rows)
