"""`barewind weights`: whether hosts hold the right bytes, and the removal of those that nobody needs any more."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from barewind.cli.options import all_option, data_option, epilog, host_option, inventory_argument, site_of, yes_option
from barewind.output.names import told

if TYPE_CHECKING:
    from barewind.hosts.reach import Hosts
    from barewind.weights.plan import HostJob

_READ = 4 * 3600  # seconds; 134 GB from a slow disk
_LOOK = 300  # seconds
_VERIFIED = epilog(
    "0: all is as locked; 1: something is absent or wrong; 2: a host could not be asked, or wrong use",
    "barewind weights verify inventory/prod.py",
    "barewind weights verify inventory/prod.py --host gpu-h1 --repair",
)
_PRUNED = epilog(
    "0: nothing unneeded is left; 1: it was not removed, or a host could not be asked; 2: wrong use. Sizes are in GiB",
    "barewind weights prune inventory/prod.py",
)


@click.group(epilog=_VERIFIED)
def weights() -> None:
    """Verify or prune the weights on hosts."""


@weights.command(epilog=_VERIFIED)
@inventory_argument
@data_option
@host_option
@all_option
@click.option("--json", "as_json", is_flag=True, help="Print one object per directory and host.")
@click.option("--repair", is_flag=True, help="Have the next deploy fetch again what is wrong.")
@click.pass_context
def verify(
    ctx: click.Context,
    inventory_file: str,
    data: tuple[str, ...],
    only: tuple[str, ...],
    every: bool,
    as_json: bool,
    repair: bool,
) -> None:
    """Compare every file on every host with the lock file.

    All files are read again. Nothing is changed without --repair.
    """
    hosts, jobs = _hosts(inventory_file, data, only)
    from barewind.weights.verify import distrust, exit_status, print_differences, read_findings

    answers = hosts.ask({name: print_differences(job) for name, job in jobs.items()}, timeout=_READ)
    findings = {name: read_findings(jobs[name], *answer) for name, answer in answers.items()}
    flat = [finding for host in findings.values() for finding in host]
    if as_json:
        click.echo(json.dumps([finding.as_json() for finding in flat], indent=2))
    else:
        _tell(((finding.host, str(finding)) for finding in flat), every=every)
    if repair and (commands := distrust(findings)):
        outcomes = hosts.ask(commands, timeout=_LOOK).items()
        mended = ((name, problem or "the next deploy fetches what is wrong") for name, (_, problem) in outcomes)
        _tell(mended, every=every, err=True)
    ctx.exit(exit_status(findings))


@weights.command(epilog=_PRUNED)
@inventory_argument
@data_option
@host_option
@all_option
@yes_option
@click.pass_context
def prune(
    ctx: click.Context, inventory_file: str, data: tuple[str, ...], only: tuple[str, ...], every: bool, yes: bool
) -> None:
    """Remove weights and compile caches that nobody needs.

    What a plan, a running engine or one of the last `keep_releases` releases names is needed: a model and its draft, for
    instance, or a second revision that is being tried.
    """
    hosts, jobs = _hosts(inventory_file, data, only)
    from barewind.release.prune import removable, remove, show_entries

    engines = site_of(inventory_file, data).engine_hosts
    answers = hosts.ask({name: show_entries(job) for name, job in jobs.items()}, timeout=_LOOK)
    unneeded, left_alone = {}, {}
    for name, (output, problem) in answers.items():
        try:
            unneeded[name] = removable(jobs[name], output, problem, keep=engines[name][0].keep_releases)
        except ValueError as error:  # no reason to leave the other hosts out
            left_alone[name] = f"left alone: {error}"
    _tell(left_alone.items(), every=every, err=True)
    failed = bool(left_alone)
    unneeded = {name: entries for name, entries in unneeded.items() if entries}
    _tell(((name, str(entry)) for name, entries in unneeded.items() for entry in entries), every=every)
    if not unneeded:
        click.echo("Nothing to remove.")
    elif yes or click.confirm("Remove these?"):
        commands = {name: remove(jobs[name], entries) for name, entries in unneeded.items()}
        removals = {name: problem for name, (_, problem) in hosts.ask(commands, timeout=_LOOK).items()}
        _tell(((name, problem or "removed") for name, problem in removals.items()), every=every)
        failed = failed or any(removals.values())
    else:
        failed = True
    ctx.exit(1 if failed else 0)


def _tell(messages: Iterable[tuple[str, str]], *, every: bool, err: bool = False) -> None:
    for line in told(messages, every=every):
        click.echo(line, err=err)


def _hosts(inventory_file: str, data: tuple[str, ...], only: tuple[str, ...]) -> tuple[Hosts, dict[str, HostJob]]:
    """The hosts, and what each shall hold.

    Raises:
        BarewindError: inventory, group data or lock file are not right.
    """
    site = site_of(inventory_file, data)
    from barewind.hosts.reach import Hosts
    from barewind.lock import file as lock
    from barewind.plan.checks import require_locked
    from barewind.plan.engine import by_host, plan_site
    from barewind.weights.plan import host_jobs

    plans = by_host(plan_site(site, lock.read(site.lock_file)))
    require_locked(plans, site.lock_file)
    unknown = [name for name in only if name not in plans]
    if unknown:
        raise click.UsageError(f"{inventory_file}: no engine host '{unknown[0]}'; hosts: {', '.join(plans)}.")
    jobs = {name: job for name, job in host_jobs(plans).items() if not only or name in only}
    return Hosts(inventory_file, data), jobs
