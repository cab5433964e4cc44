"""Arguments and options that several commands of `barewind` have."""

from __future__ import annotations

from typing import Any

import click

from barewind.cli.completion import hosts, inventories, keys
from barewind.errors import BarewindError
from barewind.site import inventory
from barewind.site.read import read_site
from barewind.spec.site import Site

inventory_argument = click.argument("inventory_file", metavar="INVENTORY", shell_complete=inventories)
data_option = click.option(
    "--data",
    "data",
    multiple=True,
    metavar="KEY=VALUE",
    shell_complete=keys,
    help="Override a key on every host, as pyinfra does.",
)
host_option = click.option(
    "--host",
    "only",
    multiple=True,
    metavar="HOST",
    shell_complete=hosts,
    help="Look at this host only; may be given several times.",
)
yes_option = click.option("--yes", is_flag=True, help="Do not ask before anything is changed.")

all_option = click.option(
    "--all", "every", is_flag=True, help="Show every host in a line of its own, however many are alike."
)


def epilog(status: str, *examples: str) -> str:
    """What stands at the end of a command's help: exit statuses and examples."""
    lines = "\n".join(f"  {example}" for example in examples)
    return f"Exit status {status}.\n\n\b\nExamples:\n{lines}"


def site_of(inventory_file: str, data: tuple[str, ...]) -> Site:
    """The validated site of an inventory, with the overrides of --data.

    Raises:
        BarewindError: the inventory or the group data is not right.
    """
    return read_site(inventory.load(inventory_file, overrides(data)))


def endpoint_of(inventory_file: str, data: tuple[str, ...]) -> Site:
    """The validated site of an inventory that has balancers.

    Raises:
        BarewindError: it has none, or something is not right.
    """
    site = site_of(inventory_file, data)
    if not site.balancers:
        raise BarewindError(
            f"{inventory_file}: no host in the group 'balancers', and keys are for their endpoint; add one."
        )
    return site


def overrides(data: tuple[str, ...]) -> dict[str, Any]:
    """The keys that --data sets, and their values as pyinfra converts them.

    Raises:
        UsageError: one of them is not KEY=VALUE.
    """
    from pyinfra_cli.util import parse_cli_arg  # the conversion that pyinfra's own --data uses

    values = {}
    for override in data:
        key, equals, value = override.partition("=")
        if not equals:
            raise click.UsageError(f"--data {override}: write KEY=VALUE.")
        values[key] = parse_cli_arg(value)
    return values
