"""`barewind unlock`: the lock of the fleet, taken away from a run that is dead or must end."""

from __future__ import annotations

import click

from barewind.commands import data_option, inventory_argument, site_of

_LOOK = 30  # seconds a host gets to answer


@click.command()
@inventory_argument
@data_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def unlock(ctx: click.Context, inventory_file: str, data: tuple[str, ...], yes: bool) -> None:
    """Show who has the lock of the fleet, and remove it. A run that still has it ends before its next step.

    Exit status 0: nobody has it any more; 1: not removed; 2: a host could not be asked.
    """
    site = site_of(inventory_file, data)
    from barewind import fleet_lock
    from barewind.errors import BarewindError
    from barewind.reach import Hosts

    hosts, failed = Hosts(inventory_file, data), False

    def ask(commands: dict[str, str]) -> dict[str, fleet_lock.Answer]:
        """What hosts say; those that cannot be asked are named and left out."""
        nonlocal failed
        found = {}
        for name, (output, problem) in hosts.ask(commands, timeout=_LOOK).items():
            try:
                answer = fleet_lock.read(output, name) if not problem else None
            except BarewindError as error:
                answer, problem = None, str(error)
            if answer is None:
                click.echo(f"{name}: cannot be asked ({problem})", err=True)
                failed = True
            else:
                found[name] = answer
        return found

    seen = ask(dict.fromkeys([*sorted(site.balancers), *sorted(site.engines)], fleet_lock.look()))
    held = {name: one for name, one in seen.items() if one.owner}
    for name, one in held.items():
        click.echo(f"{name}: {one.owner}; last heard of {one.age} s ago")
    if not held:
        click.echo("Nobody has it." if not failed else "Nobody has it on the hosts that answer.")
        ctx.exit(2 if failed else 0)
    if not yes and not click.confirm("Remove it?"):
        ctx.exit(1)
    after = ask({name: fleet_lock.give_back(one.owner.token) for name, one in held.items() if one.owner})
    left = {name: one for name, one in after.items() if one.owner}
    for name, one in left.items():
        click.echo(f"{name}: taken meanwhile by {one.owner}", err=True)
    click.echo(f"Removed on {len(after) - len(left)} host(s).")
    ctx.exit(2 if failed else 1 if left else 0)
