"""The commands of the lab, as a click group that `barewind` takes in."""

import functools
import json
import sys
import time
from collections.abc import Callable
from typing import ParamSpec

import click
from rich.console import Console
from rich.table import Table

from lab import topology
from lab.down import down as take_down
from lab.errors import LabError
from lab.progress import Steps
from lab.status import look
from lab.up import up as bring_up

P = ParamSpec("P")
_NUMBER = click.IntRange(0, topology.MAX_OF_A_KIND)


def plainly(command: Callable[P, None]) -> Callable[P, None]:
    """A LabError becomes one line and exit status 1."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except LabError as error:
            raise click.ClickException(str(error)) from None

    return wrapped


@click.group()
def lab() -> None:
    """A lab of real hosts on this machine, for trying things out."""


@lab.command()
@click.option("--engines", type=click.IntRange(0, topology.MAX_ENGINES), help="Engine hosts (default 2).")
@click.option("--balancers", type=click.IntRange(1, topology.MAX_BALANCERS), help="Balancer hosts (default 1).")
@click.option("--hopper", type=_NUMBER, help="Hosts with eight simulated H100 (default 0).")
@click.option("--blackwell", type=_NUMBER, help="Hosts with eight simulated B200 (default 0).")
@click.option("--mi300x", type=_NUMBER, help="Hosts with eight simulated MI300X (default 0).")
@click.option(
    "--mirrors",
    type=click.IntRange(0, topology.MAX_MIRRORS),
    help="Hosts with a registry for images (default 0).",
)
@plainly
def up(**sizes: int | None) -> None:
    """Bring the lab up; again is quick and changes nothing. What is not named stays as large as it is."""
    start = time.monotonic()
    with Steps().shown() as steps:
        made = bring_up(steps, **sizes)
        steps.say(f"The lab is up: {', '.join(f'{h.name} {h.address}' for h in made.hosts)}")
        steps.say(
            f"lb1 port {topology.HTTP_PORT_INSIDE} is http://{topology.HTTP_ADDRESS}:{made.http_port} "
            f"({time.monotonic() - start:.1f} s)"
        )


@lab.command()
@click.option("--purge", is_flag=True, help="Remove the cache too.")
@plainly
def down(purge: bool) -> None:
    """Remove the lab; the next `up` is quick thanks to the cache."""
    with Steps().shown() as steps:
        take_down(steps, purge=purge)


@lab.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@plainly
def status(as_json: bool) -> None:
    """Show hosts and services; exit status 1 unless all is there."""
    seen = look()
    if as_json:
        click.echo(json.dumps(seen.as_json(), indent=2))
    elif not seen.up:
        click.echo("The lab is down. Bring it up with `barewind lab up`.")
    elif not seen.engine_running:
        click.echo(
            "No Docker Engine answers, so the lab's hosts are off. Run `barewind lab up`: it keeps what they hold."
        )
    else:
        table = Table("host", "address", "role", "accelerators", "state")
        for host in seen.hosts:
            table.add_row(host.name, host.address, host.role, host.kind, host.state)
        console = Console(highlight=False)
        console.print(table)
        console.print(
            ", ".join(
                f"{name} {'answers' if answers else 'is silent'}"
                for name, answers in (
                    ("registry", seen.registry),
                    ("hub", seen.hub),
                    ("package repositories", seen.repositories),
                )
            )
        )
        for line in (*seen.images, *(f"not in the registry: {image}" for image in seen.missing)):
            console.print(line)
    if not seen.complete:
        sys.exit(1)
