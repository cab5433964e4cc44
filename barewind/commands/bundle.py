"""`barewind bundle`: everything a site needs that has no way out, in one directory."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from barewind.commands import data_option, inventory_argument, site_of
from barewind.errors import BarewindError

if TYPE_CHECKING:
    from barewind.bundle import Bundle
    from barewind.mirror import Mirror
    from barewind.site import Site
    from barewind.transfers import Transfers

_KEEP_ALL = 10**6  # releases: a registry named by hand is not tidied up


@click.group()
def bundle() -> None:
    """Take images, weights and the list of packages to a site without a network, checked before use."""


@bundle.command()
@inventory_argument
@click.argument("directory", type=click.Path(path_type=Path))
@data_option
def save(inventory_file: str, directory: Path, data: tuple[str, ...]) -> None:
    """Save what the lock file holds for INVENTORY in DIRECTORY. Run again, it goes on where it was."""
    site = site_of(inventory_file, data)  # before the imports: pyinfra makes the process cooperative first of all
    from barewind import lock
    from barewind.bundle.save import save as save_bundle
    from barewind.mirror.generations import fleet_name
    from barewind.transfers import Transfers

    held = lock.read(site.lock_file)
    with Transfers() as shown:
        identity = save_bundle(site, held, directory, fleet_name(inventory_file), shown)
    click.echo(f"Saved {directory}: bundle {identity}")
    click.echo(f"On the site: barewind bundle load {directory} --to INVENTORY --expect {identity}")


@bundle.command()
@click.argument("directory", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--to", "target", required=True, metavar="REGISTRY|INVENTORY", help="A registry, or the mirrors of a fleet."
)
@click.option("--weights", type=click.Path(path_type=Path, file_okay=False), help="Copy the weights here, too.")
@click.option("--expect", metavar="ID", help="The bundle's id, as `bundle save` told it: refuse any other.")
@click.option("--plain-http", is_flag=True, help="REGISTRY speaks plain HTTP: only on a private network.")
@click.option("--ca", metavar="FILE", help="Who signed REGISTRY's certificate.")
@data_option
def load(
    directory: Path,
    target: str,
    weights: Path | None,
    expect: str | None,
    plain_http: bool,
    ca: str | None,
    data: tuple[str, ...],
) -> None:
    """Check the bundle in DIRECTORY, then put its images into a registry and its weights where hosts find them.

    Nothing of a bundle that is not complete or was changed is used.
    """
    inventory = target.endswith(".py") or Path(target).is_file()
    site = site_of(target, data) if inventory else None
    from barewind.bundle import WEIGHTS
    from barewind.bundle.load import check, push, put_weights
    from barewind.mirror import Mirror
    from barewind.transfers import Transfers

    with Transfers() as shown:
        found = check(directory, shown, expected=expect)
        shown.say(f"{directory}: complete and unchanged, bundle {found.identity}")
        registries = [Mirror(target, plain_http, ca, _KEEP_ALL)] if site is None else _mirrors(site, found, shown)
        for one in registries:
            push(found, one, datetime.now(UTC), shown)
        if weights is not None:
            put_weights(found, weights, shown)
    where = weights or directory / WEIGHTS
    said = f"Loaded. The weights are in {where}: have a web server that knows ranges serve it, and name its URL in weights_path"
    if weights is not None:
        said += '; or have hosts mount it, with weights_source = "path" and weights_path where they do'
    click.echo(f"{said}.")


def _mirrors(site: Site, found: Bundle, shown: Transfers) -> list[Mirror]:
    from barewind import lock, mirror
    from barewind.bundle.load import agree

    if agree(found, site):
        shown.say(f"Wrote {site.lock_file} from the bundle. Review it and commit it.")
    try:
        return mirror.mirrors(site, lock.read(site.lock_file))
    except BarewindError as error:
        raise BarewindError(f"{error} A bundle's images need a registry that hosts pull from.") from error
