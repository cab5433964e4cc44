"""`barewind weights`: what hosts hold, byte by byte, and what of it nobody needs any more."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from barewind.commands import data_option, inventory_argument, site_of

if TYPE_CHECKING:
    from barewind.reach import Hosts
    from barewind.swarm import HostJob

_READ = 4 * 3600  # seconds; 134 GB from a slow disk
_LOOK = 300  # seconds

_host = click.option(
    "--host", "only", metavar="HOST", multiple=True, help="This host only; may be given several times."
)


@click.group()
def weights() -> None:
    """Weights on the hosts: verify, prune."""


@weights.command()
@inventory_argument
@data_option
@_host
@click.option("--json", "as_json", is_flag=True, help="One object per directory and host.")
@click.option("--repair", is_flag=True, help="Have the next deploy fetch again what is wrong.")
@click.pass_context
def verify(
    ctx: click.Context, inventory_file: str, data: tuple[str, ...], only: tuple[str, ...], as_json: bool, repair: bool
) -> None:
    """Read every file again on every host and compare it with the lock. Changes nothing, but with --repair.

    Exit status 0: all as locked; 1: something is absent or wrong; 2: a host could not be asked.
    """
    hosts, jobs = _hosts(inventory_file, data, only)
    from barewind import weights_check

    answers = hosts.ask({name: weights_check.verify(job) for name, job in jobs.items()}, timeout=_READ)
    found = {name: weights_check.findings(jobs[name], *answer) for name, answer in answers.items()}
    if as_json:
        click.echo(json.dumps([one.as_json() for each in found.values() for one in each], indent=2))
    else:
        for one in (one for each in found.values() for one in each):
            rest = f": {one.detail}. Next: {one.remedy}" if one.detail else ""
            click.echo(f"{one.host}: {one.state} {one.directory}{rest}")
    if repair and (commands := weights_check.distrust(found)):
        for name, (_, problem) in hosts.ask(commands, timeout=_LOOK).items():
            click.echo(f"{name}: {problem or 'the next deploy fetches what is wrong'}", err=True)
    ctx.exit(weights_check.summary(found))


@weights.command()
@inventory_argument
@data_option
@_host
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def prune(ctx: click.Context, inventory_file: str, data: tuple[str, ...], only: tuple[str, ...], yes: bool) -> None:
    """Remove weights and compile caches that no plan, no running engine and none of the last `keep_releases` releases needs.

    Draft and model, and a second revision that is being tried, stay side by side as long as one of these names them.
    """
    hosts, jobs = _hosts(inventory_file, data, only)
    from barewind import weights_check

    keep = {name: site_of(inventory_file, data).engines[name].keep_releases for name in jobs}
    answers = hosts.ask({name: weights_check.survey(job, keep[name]) for name, job in jobs.items()}, timeout=_LOOK)
    removable, failed = {}, False
    for name, (output, problem) in answers.items():
        try:
            removable[name] = weights_check.removable(jobs[name], output, problem)
        except ValueError as error:  # no reason to leave the other hosts out
            click.echo(f"{name}: left alone: {error}", err=True)
            failed = True
    removable = {name: entries for name, entries in removable.items() if entries}
    for name, entries in removable.items():
        for entry in entries:
            click.echo(f"{name}: {entry}")
    if not removable:
        click.echo("Nothing to remove.")
    elif yes or click.confirm("Remove these?"):
        commands = {name: weights_check.remove(jobs[name], entries) for name, entries in removable.items()}
        for name, (_, problem) in hosts.ask(commands, timeout=_LOOK).items():
            click.echo(f"{name}: {problem or 'removed'}")
            failed = failed or bool(problem)
    else:
        failed = True
    ctx.exit(1 if failed else 0)


def _hosts(inventory_file: str, data: tuple[str, ...], only: tuple[str, ...]) -> tuple[Hosts, dict[str, HostJob]]:
    """The hosts, and what each shall hold.

    Raises:
        BarewindError: inventory, group data or lock file are not right.
    """
    site = site_of(inventory_file, data)
    from barewind import lock, swarm
    from barewind.plan import plan_site, require_locked
    from barewind.reach import Hosts

    plans = plan_site(site, lock.read(site.lock_file))
    require_locked(plans, site.lock_file)
    unknown = [name for name in only if name not in plans]
    if unknown:
        raise click.UsageError(f"{inventory_file}: no engine host '{unknown[0]}'; hosts: {', '.join(plans)}.")
    jobs = {name: job for name, job in swarm.jobs(plans).items() if not only or name in only}
    return Hosts(inventory_file, data), jobs
