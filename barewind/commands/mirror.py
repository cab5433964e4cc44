"""`barewind mirror`: the locked images in the fleet's own registry."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from barewind.commands import data_option, inventory_argument, site_of
from barewind.errors import BarewindError


@click.command()
@inventory_argument
@data_option
@click.option(
    "--verify", is_flag=True, help="Copy nothing; read every image back from the mirror and check its SHA-256."
)
def mirror(inventory_file: str, data: tuple[str, ...], verify: bool) -> None:
    """Copy locked images by digest to the fleet's registry (key `mirror`), from which hosts then pull.

    What is there is not sent again; a run that was cut off goes on. Images of the last `keep_releases` releases stay.
    """
    site = site_of(inventory_file, data)  # before the imports: pyinfra makes the process cooperative first of all
    from barewind import lock, mirror
    from barewind.mirror.copy import REPAIR
    from barewind.mirror.generations import fleet_name
    from barewind.transfers import Transfers

    with Transfers() as shown:
        for one in mirror.mirrors(site, lock.read(site.lock_file)):
            if not verify:
                mirror.fill(one, fleet_name(inventory_file), datetime.now(UTC), shown)
            elif found := mirror.damaged(one, shown):
                raise BarewindError("\n".join([*found, f"To repair it, {REPAIR}"]))
            else:
                shown.say(f"mirror {one.registry}: every image is as locked")
