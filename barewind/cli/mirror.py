"""`barewind mirror`: the locked images in the fleet's own registry."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from barewind.cli.options import data_option, epilog, inventory_argument, site_of
from barewind.errors import BarewindError


@click.command(
    epilog=epilog(
        "0: the mirror has every image; 1: it has not, or (--verify) something is damaged; 2: wrong use",
        "barewind mirror inventory/prod.py",
        "barewind mirror inventory/prod.py --verify",
    )
)
@inventory_argument
@data_option
@click.option(
    "--verify", is_flag=True, help="Copy nothing, but read every image back from the mirror and check its SHA-256."
)
def mirror(inventory_file: str, data: tuple[str, ...], verify: bool) -> None:
    """Copy the locked images to the fleet's own registry.

    Hosts then pull from there (key `mirror`). What is there is not sent again, so a run that was cut off goes on where it
    was. Images of the last `keep_releases` releases stay. A host of the group `mirrors` is filled over SSH: its port can only
    be read.
    """
    site = site_of(inventory_file, data)  # before the imports: pyinfra makes the process cooperative first of all
    from barewind.lock import file as lock
    from barewind.mirror import contents
    from barewind.mirror.filling import filling
    from barewind.mirror.generations import fleet_name
    from barewind.progress.transfers import Transfers
    from barewind.registry.copy import REPAIR

    with Transfers() as transfers:
        for registry in contents.mirrors(site, lock.read(site.lock_file)):
            if not verify:
                with filling(registry, inventory_file, data) as writable:
                    contents.fill(writable, fleet_name(inventory_file), datetime.now(UTC), transfers)
            elif damages := contents.damaged(registry, transfers):
                raise BarewindError("\n".join([*damages, f"To repair it, {REPAIR}"]))
            else:
                transfers.say(f"mirror {registry.registry}: every image is as locked")
