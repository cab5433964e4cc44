"""The `barewind` command: what is not a deploy. Deploys are pyinfra's: `pyinfra INVENTORY deploy.py`."""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from barewind.commands import data_option, inventory_argument, site_of
from barewind.commands.bundle import bundle
from barewind.commands.lock import lock
from barewind.commands.mirror import mirror
from barewind.commands.status import status
from barewind.commands.unlock import unlock
from barewind.commands.weights import weights
from barewind.errors import BarewindError
from barewind.fit import Fit
from barewind.lock import read
from barewind.plan import EnginePlan, check, plan_site
from barewind.site import Site
from lab.cli import lab


class _Group(click.Group):
    """Shows a BarewindError as its text, exit status 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BarewindError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_Group)
@click.version_option(package_name="barewind")
def main() -> None:
    """From freshly installed GPU servers to a production endpoint, and what keeps it there."""


for _command in (bundle, lab, lock, mirror, status, unlock, weights):
    main.add_command(_command)


@main.command()
@inventory_argument
@data_option
@click.option("--host", "only", metavar="HOST", help="This host only.")
@click.option("--json", "as_json", is_flag=True, help="One object per engine host.")
def plan(inventory_file: str, data: tuple[str, ...], only: str | None, as_json: bool) -> None:
    """Show what each host would serve. Connects to nothing."""
    site = site_of(inventory_file, data)
    plans = plan_site(site, read(site.lock_file))
    if only is not None:
        if only not in plans:
            raise click.UsageError(f"{inventory_file}: no engine host '{only}'; hosts: {', '.join(plans)}.")
        plans = {only: plans[only]}
    if as_json:
        click.echo(json.dumps([one.as_json() for one in plans.values()], indent=2))
    else:
        _show(plans, site)
    check(plans)


@main.command(context_settings={"ignore_unknown_options": True})
@inventory_argument
@click.argument("pyinfra_options", nargs=-1, type=click.UNPROCESSED)
def deploy(inventory_file: str, pyinfra_options: tuple[str, ...]) -> None:
    """Run `pyinfra INVENTORY deploy.py` with the given options, e.g. --limit engine1 -y, --dry."""
    command = ["pyinfra", inventory_file, "deploy.py", *pyinfra_options]
    if not Path("deploy.py").is_file():
        raise BarewindError("deploy.py: not in this folder; run the command in your clone of the repository.")
    click.echo(f"$ {shlex.join(command)}", err=True)
    os.execv(Path(sys.executable).with_name("pyinfra"), command)  # noqa: S606 - no shell


def _show(plans: dict[str, EnginePlan], site: Site) -> None:
    console = Console(soft_wrap=True, highlight=False, markup=False)
    by_command: dict[tuple[str, ...], list[EnginePlan]] = {}
    for one in plans.values():
        by_command.setdefault(_without_address(one), []).append(one)
    for alike in by_command.values():
        first = alike[0]
        names = ", ".join(one.spec.host for one in alike)
        console.print(
            f"\n{names}: {first.spec.accelerator_count} x {first.spec.accelerator}, {first.spec.engine}, "
            f"release {first.release or 'not locked yet'}"
        )
        console.print(f"image   {first.image} -> {first.digest or 'not locked: barewind lock INVENTORY'}")
        for role, (model, revision) in zip(("model", "draft"), first.revisions, strict=False):
            console.print(f"{role}   {model} @ {revision} ({first.layout} layout)")
        if first.sizing.fit is not None:
            console.print(_fit_line(first.sizing.fit))
        table = Table("option", "value", "reason", box=None, header_style="dim")
        for option in first.command.options:
            flag, *value = option.arguments()
            table.add_row(flag, Text(" ".join(value)), option.reason)
        console.print(table)
        console.print("env     " + " ".join(f"{name}={value}" for name, value in first.command.env.items()))
        console.print("docker  " + shlex.join(["docker", "run", *first.container, first.image, *first.command.argv]))
    for name, spec in site.balancers.items():
        console.print(
            f"\n{name}: balancer on port {spec.endpoint_port}, least connections over {len(site.engines)} engines"
        )


def _fit_line(fit: Fit) -> str:
    fits = "fits" if fit.fits else "DOES NOT FIT"
    return (
        f"memory  {fits}: {fit.weights_mib / 1024:.1f} GiB of weights per accelerator, room for {fit.kv_token_capacity} "
        f"tokens of KV cache, {fit.concurrent_sequences} sequences of {fit.context_length} tokens"
    )


def _without_address(plan_: EnginePlan) -> tuple[str, ...]:
    parts = (plan_.spec.accelerator, plan_.image, *plan_.command.argv, *plan_.container)
    return tuple(part for part in parts if part != plan_.spec.address)
