"""`barewind deploy`: short for the pyinfra command that deploys."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import click

from barewind.cli.options import epilog, inventory_argument
from barewind.errors import BarewindError


@click.command(
    context_settings={"ignore_unknown_options": True},
    epilog=epilog(
        "0: every host is as planned; 1: something failed, or was refused: told with host and remedy; 2: wrong use; 130: Ctrl-C",
        "barewind deploy inventory/prod.py",
        "barewind deploy inventory/prod.py -y --limit gpu-h1",
    ),
)
@inventory_argument
@click.argument("pyinfra_options", nargs=-1, type=click.UNPROCESSED)
def deploy(inventory_file: str, pyinfra_options: tuple[str, ...]) -> None:
    """Run `pyinfra INVENTORY deploy.py`.

    Options such as -y, --dry or --limit engine1 are passed on to pyinfra.
    """
    command = ["pyinfra", inventory_file, "deploy.py", *pyinfra_options]
    if not Path("deploy.py").is_file():
        raise BarewindError("deploy.py: not in this folder; run the command in your clone of the repository.")
    click.echo(f"$ {shlex.join(command)}", err=True)
    os.execv(Path(sys.executable).with_name("pyinfra"), command)  # noqa: S606 - no shell
