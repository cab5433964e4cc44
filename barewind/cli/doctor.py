"""`barewind doctor`: whether this machine, and the way to each host, are as a deploy needs them."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from barewind.cli.completion import inventories
from barewind.cli.options import data_option, epilog, overrides
from barewind.doctor import checks, controller
from barewind.doctor.finding import Finding, State, lines
from barewind.errors import BarewindError
from barewind.site import inventory
from barewind.site.read import read_site
from barewind.spec.keys import BalancerSpec
from barewind.spec.site import HostEntry

if TYPE_CHECKING:
    from barewind.doctor.commands import HostAnswer

_LOOK = 30  # seconds a host gets to answer


@click.command(
    epilog=epilog(
        "0: nothing is wrong; 1: something is, and a deploy would fail; 2: wrong use. Sizes are in GiB",
        "barewind doctor",
        "barewind doctor inventory/prod.py",
    )
)
@click.argument("inventory_file", metavar="[INVENTORY]", required=False, shell_complete=inventories)
@data_option
@click.option("--json", "as_json", is_flag=True, help="Print a list of objects: subject, state, found, remedy.")
@click.pass_context
def doctor(ctx: click.Context, inventory_file: str | None, data: tuple[str, ...], as_json: bool) -> None:
    """Look at this machine, and at the way to each host of INVENTORY, and say what to mend. Nothing is changed.

    Without INVENTORY no host is connected to.
    """
    if data and inventory_file is None:
        raise click.UsageError("--data: name the INVENTORY whose keys it overrides.")
    addresses: dict[str, str] = {}
    findings: list[Finding] = []
    if inventory_file is not None:
        entries = inventory.load(inventory_file, overrides(data))
        addresses = {entry.name: str(entry.data.get("ssh_hostname") or entry.name) for entry in entries}
        problem, balancers = _read(entries)
        findings += [*checks.keys(problem), *checks.certificates(balancers)]
    findings = [*checks.controller(controller.read(), len(addresses), addresses), *findings]
    if inventory_file is not None:
        findings += checks.hosts(_ask(inventory_file, data, list(addresses)), addresses)
    if as_json:
        click.echo(json.dumps([asdict(each) | {"state": each.state.name.lower()} for each in findings], indent=2))
    else:
        _show(findings)
    ctx.exit(int(any(each.state == State.WRONG for each in findings)))


def _read(entries: list[HostEntry]) -> tuple[str, dict[str, BalancerSpec]]:
    """What is not right about the keys of group data; "" if all are, and then the balancers."""
    try:
        return "", read_site(entries).balancers
    except BarewindError as error:
        return str(error), {}


def _ask(inventory_file: str, data: tuple[str, ...], names: list[str]) -> dict[str, HostAnswer]:
    from barewind.doctor import commands
    from barewind.hosts.reach import Hosts

    hosts, looks = Hosts(inventory_file, data), dict.fromkeys(names, commands.LOOK)
    return hosts.ask_and_read(looks, lambda output, problem: commands.read(output, problem, time.time()), timeout=_LOOK)


def _show(findings: list[Finding]) -> None:
    for line in lines(findings):
        click.echo(line)
    wrong = sum(each.state == State.WRONG for each in findings)
    look = sum(each.state == State.LOOK for each in findings)
    if wrong or look:
        click.echo(f"{wrong} wrong, {look} to look at.")
    else:
        click.echo("Nothing to mend.")
