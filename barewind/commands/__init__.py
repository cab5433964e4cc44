"""The subcommands of `barewind` that have a file of their own, and what they share."""

from __future__ import annotations

import click

from barewind import inventory
from barewind.site import Site, read_site

inventory_argument = click.argument("inventory_file", metavar="INVENTORY")
data_option = click.option(
    "--data",
    "data",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a key on every host, as pyinfra does.",
)


def site_of(inventory_file: str, data: tuple[str, ...]) -> Site:
    """The validated site of an inventory, with --data.

    Raises:
        BarewindError: the inventory or the group data is not right.
    """
    from pyinfra_cli.util import parse_cli_arg  # the conversion that pyinfra's own --data uses

    overrides = {}
    for one in data:
        key, equals, value = one.partition("=")
        if not equals:
            raise click.UsageError(f"--data {one}: write KEY=VALUE.")
        overrides[key] = parse_cli_arg(value)
    return read_site(inventory.load(inventory_file, overrides))
