"""The click group `lab`, which `barewind` has among its commands.

Commands import what they do when they are called: every `barewind` command would start a third of a second later.
"""

import functools
import json
import sys
import time
from collections.abc import Callable
from typing import ParamSpec

import click
from rich.console import Console
from rich.table import Table

from barewind.cli.options import epilog
from lab import topology
from lab.errors import LabError
from lab.progress import Steps

P = ParamSpec("P")

_UP = epilog(
    "0: it runs; 1: it does not, told with the remedy; 2: wrong use",
    "barewind lab up",
    "barewind lab up --engines 0 --hopper 2 --mi300x 1",
)
_NUMBER = click.IntRange(0, topology.MAX_OF_A_KIND)


def _report_errors(command: Callable[P, None]) -> Callable[P, None]:
    """Decorator of a command: a LabError is printed as a line, without traceback, and ends with exit status 1."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except LabError as error:
            raise click.ClickException(str(error)) from None

    return wrapped


@click.group(epilog=_UP)
def lab() -> None:
    """A lab of real hosts on this machine, for trying things out."""


@lab.command(epilog=_UP)
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
@click.option(
    "--sglang",
    type=click.IntRange(0, topology.MAX_SGLANG),
    help="Engine hosts for the real SGLang (default 0); its image is built when it is first asked for.",
)
@click.option(
    "--light",
    type=click.IntRange(0),
    help="Engine hosts with stand-ins for Docker and the engine (default 0): many of them fit into one machine.",
)
@click.option(
    "--system",
    type=click.Choice(topology.SYSTEMS),
    help="System of the hosts that have no simulated accelerators and are not light (default debian-12). A change "
    "makes them anew.",
)
@_report_errors
def up(system: str | None, **sizes: int | None) -> None:
    """Bring the lab up. A second `up` is quick and changes nothing; sizes that are not given stay as they are."""
    start = time.monotonic()
    from lab.up import up as bring_up

    with Steps().shown() as steps:
        running = bring_up(steps, system=system, **sizes)
        hosts = [f"{host.name} {host.address}" for host in running.hosts if not host.light]
        if light := [host for host in running.hosts if host.light]:
            hosts.append(f"{light[0].name} to {light[-1].name} {light[0].address} to {light[-1].address}")
        steps.say(f"The lab is up: {', '.join(hosts)}")
        steps.say(
            f"lb1 port {topology.HTTP_PORT_INSIDE} is http://{topology.HTTP_ADDRESS}:{running.http_port} "
            f"({time.monotonic() - start:.1f} s)"
        )


@lab.command(epilog=epilog("0: published; 1: not, told with the remedy; 2: wrong use", "barewind lab nightly"))
@_report_errors
def nightly() -> None:
    """Publish another image of the stand-in engine, as upstream does every night: its tag then stands for a new digest.

    Hosts with simulated accelerators and light ones run it. The next `up` takes it back.
    """
    from lab.images import standin_engine
    from lab.status import read as read_status

    if not read_status().up:
        raise LabError("The lab is down. Bring it up with `barewind lab up`.")
    digest = standin_engine.variant(standin_engine.TAG)
    click.echo(f"{topology.STANDIN_IMAGE} is now {digest}")


@lab.command(
    epilog=epilog("0: it is gone; 1: something of it is left, told with the remedy; 2: wrong use", "barewind lab down")
)
@click.option("--purge", is_flag=True, help="Remove the cache too.")
@_report_errors
def down(purge: bool) -> None:
    """Remove the lab. The cache stays, so that the next `up` is quick."""
    from lab.down import down as take_down

    with Steps().shown() as steps:
        take_down(steps, purge=purge)


@lab.command(
    epilog=epilog("0: all of it runs; 1: something does not, or it is down; 2: wrong use", "barewind lab status --json")
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@_report_errors
def status(as_json: bool) -> None:
    """Show hosts and services; exit status 1 unless all of them run."""
    from lab.status import read as read_status

    current = read_status()
    if as_json:
        click.echo(json.dumps(current.as_json(), indent=2))
    elif not current.up:
        click.echo("The lab is down. Bring it up with `barewind lab up`.")
    elif not current.engine_running:
        click.echo(
            "No Docker Engine answers, so the lab's hosts are off. Run `barewind lab up`: it keeps what they hold."
        )
    else:
        table = Table("host", "address", "role", "kind", "state")
        for host in current.hosts:
            table.add_row(host.name, host.address, host.role, host.kind or "light" * host.light, host.state)
        console = Console(highlight=False)
        console.print(table)
        console.print(
            ", ".join(
                f"{name} {'answers' if answers else 'is silent'}"
                for name, answers in (
                    ("registry", current.registry),
                    ("hub", current.hub),
                    ("package repositories", current.repositories),
                )
            )
        )
        for line in (*current.images, *(f"not in the registry: {image}" for image in current.missing)):
            console.print(line)
    if not current.complete:
        sys.exit(1)
