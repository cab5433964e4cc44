"""`barewind keys session`: a command with a key of its own, which is gone when the command ends."""

from __future__ import annotations

import os
import subprocess
from datetime import timedelta

import click

from barewind.cli.options import data_option, endpoint_of, epilog, inventory_argument
from barewind.cli.values import Length
from barewind.errors import BarewindError


@click.command(
    context_settings={"ignore_unknown_options": True},
    epilog=epilog(
        "0: the command has ended well; 1: a balancer could not be told; 2: wrong use; else the command's own",
        "barewind keys session inventory/prod.py -- python -m my_benchmark",
    ),
)
@inventory_argument
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option(
    "--expires",
    type=Length(),
    default="24h",
    show_default=True,
    metavar="TIME",
    help="When the key ends, should this be killed.",
)
@data_option
@click.pass_context
def session(
    ctx: click.Context, inventory_file: str, command: tuple[str, ...], expires: timedelta, data: tuple[str, ...]
) -> None:
    """Run a command with a key of its own: a benchmark, an evaluation, a test.

    The command finds it in OPENAI_API_KEY, and the first balancer in OPENAI_BASE_URL, as OpenAI's libraries do. The key has no
    limits. It is revoked when the command ends.
    """
    site = endpoint_of(inventory_file, data)
    from barewind.hosts.reach import Hosts
    from barewind.keys.session import key_for

    with key_for(site, Hosts(inventory_file, data), expires, lambda message: click.echo(message, err=True)) as given:
        try:
            status = subprocess.run(command, env=os.environ | given.environment, check=False).returncode
        except OSError as error:
            raise BarewindError(f"{command[0]}: cannot be run ({error.strerror}); correct the command.") from error
    ctx.exit(status if status >= 0 else 128 - status)
