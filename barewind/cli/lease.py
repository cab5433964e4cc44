"""`barewind lease`: which run holds the lease of a fleet, and its removal when that run is dead or must end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from barewind.cli.options import all_option, data_option, epilog, inventory_argument, site_of, yes_option
from barewind.errors import BarewindError
from barewind.output.names import APART, fold, told

if TYPE_CHECKING:
    from barewind.hosts.reach import Hosts
    from barewind.lease.commands import Answer

_LOOK = 30  # seconds a host gets to answer
_SHOWN = epilog(
    "0: no run holds it; 1: a run holds it; 2: a host could not be asked, or wrong use",
    "barewind lease inventory/prod.py",
    "barewind lease show inventory/prod.py --all",
)
_RELEASED = epilog(
    "0: no run holds it any more; 1: it was not removed; 2: a host could not be asked, or wrong use",
    "barewind lease release inventory/prod.py",
    "barewind lease release inventory/prod.py --yes",
)


class _ShowByDefault(click.Group):
    """`barewind lease INVENTORY` means `barewind lease show INVENTORY`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, *ctx.help_option_names):
            args = ["show", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_ShowByDefault, epilog=_SHOWN)
def lease() -> None:
    """Show which run holds the lease of a fleet, or remove it.

    One run at a time changes a fleet: the run that holds its lease. `barewind lease INVENTORY` shows which run that is.
    """


@lease.command(epilog=_SHOWN)
@inventory_argument
@data_option
@all_option
@click.pass_context
def show(ctx: click.Context, inventory_file: str, data: tuple[str, ...], every: bool) -> None:
    """Show which run holds the lease, host by host. Nothing is changed."""
    _, held, silent = _look(inventory_file, data, every=every)
    ctx.exit(2 if silent else 1 if held else 0)


@lease.command(epilog=_RELEASED)
@inventory_argument
@data_option
@all_option
@yes_option
@click.pass_context
def release(ctx: click.Context, inventory_file: str, data: tuple[str, ...], every: bool, yes: bool) -> None:
    """Show which run holds the lease, and remove it. A run that still holds it ends before its next step."""
    hosts, held, silent = _look(inventory_file, data, every=every)
    if not held:
        ctx.exit(2 if silent else 0)
    if not yes and not click.confirm("Remove it?"):
        ctx.exit(1)
    from barewind.lease import commands

    removals = {name: commands.release(answer.holder.token) for name, answer in held.items() if answer.holder}
    answers = _ask(hosts, removals, every=every)
    again = {name: answer for name, answer in answers.items() if answer.holder}
    for line in told(((name, f"taken meanwhile by {answer.holder}") for name, answer in again.items()), every=every):
        click.echo(line, err=True)
    click.echo(f"Removed on {len(answers) - len(again)} host(s).")
    ctx.exit(2 if silent or len(answers) < len(removals) else 1 if again else 0)


@click.command(hidden=True, epilog=_RELEASED)
@inventory_argument
@data_option
@all_option
@yes_option
@click.pass_context
def unlock(ctx: click.Context, inventory_file: str, data: tuple[str, ...], every: bool, yes: bool) -> None:
    """Do what `barewind lease release` does: this is its former name."""
    click.echo("`barewind unlock` is now called `barewind lease release`.", err=True)
    ctx.invoke(release, inventory_file=inventory_file, data=data, every=every, yes=yes)


def _look(inventory_file: str, data: tuple[str, ...], *, every: bool) -> tuple[Hosts, dict[str, Answer], bool]:
    """Show who holds the lease; the hosts, the answers of those on which a run holds it, and whether some are silent."""
    site = site_of(inventory_file, data)
    from barewind.hosts.reach import Hosts
    from barewind.lease import commands

    hosts = Hosts(inventory_file, data)
    looks = dict.fromkeys([*site.balancers, *site.engine_hosts], commands.look())
    answers = _ask(hosts, looks, every=every)
    silent = len(answers) < len(looks)
    held = {name: answer for name, answer in answers.items() if answer.holder}
    alike = list(commands.by_holder(held).values()) if len(held) > APART and not every else [[name] for name in held]
    for names in alike:  # each with the same holder
        heard_of = commands.heard_of(held[name] for name in names)
        click.echo(f"{fold(names)}: {held[names[0]].holder}; {heard_of}")
    if not held:
        click.echo(f"No run holds the lease{' on the hosts that answer' if silent else ''}.")
    return hosts, held, silent


def _ask(hosts: Hosts, wanted: Mapping[str, str], *, every: bool) -> dict[str, Answer]:
    """The answers of hosts; those that cannot be asked are shown and left out."""
    from barewind.lease import commands

    answers, silent = {}, {}
    for name, (output, problem) in hosts.ask(wanted, timeout=_LOOK).items():
        reason = problem
        if not problem:
            try:
                answers[name] = commands.read(output, name)
            except BarewindError as error:
                reason = str(error).removeprefix(f"{name}: ")
        if reason:
            silent[name] = f"cannot be asked ({reason})"
    for line in told(silent.items(), every=every):
        click.echo(line, err=True)
    return answers
