"""The `barewind` command: all that is not a deploy. pyinfra itself deploys: `pyinfra INVENTORY deploy.py`."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import click

from barewind.cli.bench import bench
from barewind.cli.bundle import bundle
from barewind.cli.deploy import deploy
from barewind.cli.discover import discover
from barewind.cli.doctor import doctor
from barewind.cli.init import init
from barewind.cli.keys import keys
from barewind.cli.lease import lease, unlock
from barewind.cli.lock import lock
from barewind.cli.mirror import mirror
from barewind.cli.options import epilog
from barewind.cli.plan import plan
from barewind.cli.status import status
from barewind.cli.support_bundle import support_bundle
from barewind.cli.tune import tune
from barewind.cli.verify import verify
from barewind.cli.weights import weights
from barewind.errors import BarewindError
from barewind.output import streams


class _Group(click.Group):
    """Shows a BarewindError as its message, with exit status 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BarewindError as error:
            raise click.ClickException(str(error)) from error


def _short_help(command: click.Command) -> None:
    """Have a command, and all below it, take -h: each for itself, since click remembers how a command was asked first."""
    command.context_settings["help_option_names"] = ["-h", "--help"]
    if isinstance(command, click.Group):
        for below in command.commands.values():
            _short_help(below)


@click.group(
    cls=_Group,
    epilog=epilog(
        "0: done, and nothing to put right; 1: something to put right, told on standard error with file or host, key and remedy; "
        "2: wrong use, or a host that could not be asked",
        "barewind plan inventory/prod.py",
        "barewind lock inventory/prod.py",
        "pyinfra inventory/prod.py deploy.py",
        "barewind status inventory/prod.py",
    ),
)
@click.version_option(package_name="barewind")
def main() -> None:
    """Turn freshly installed GPU servers into a production endpoint, and keep it one."""


def run() -> None:
    """The program: who reads its output may go away (`| head`), which changes neither what it does nor its exit status."""
    streams.protect()
    logging.getLogger("paramiko").addHandler(
        logging.NullHandler()
    )  # its tracebacks: what has failed is told in our words
    main()


def _add_lab() -> None:
    """The lab's commands, in a checkout: the lab is beside this package there, and no part of a release."""
    checkout = Path(__file__).resolve().parents[2]
    if (checkout / "lab" / "cli.py").is_file():
        if str(checkout) not in sys.path:
            sys.path.append(str(checkout))
        from lab.cli import lab

        main.add_command(lab)


for _command in (
    bench,
    bundle,
    deploy,
    discover,
    doctor,
    init,
    keys,
    lease,
    lock,
    mirror,
    plan,
    status,
    support_bundle,
    tune,
    unlock,
    verify,
    weights,
):
    main.add_command(_command)
_add_lab()
_short_help(main)
