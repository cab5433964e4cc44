"""`barewind bundle`: everything that a site without a network needs, in one directory."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from barewind.cli.options import data_option, epilog, inventory_argument, site_of
from barewind.errors import BarewindError

if TYPE_CHECKING:
    from barewind.bundle.about import Bundle
    from barewind.mirror.contents import Mirror
    from barewind.progress.transfers import Transfers
    from barewind.spec.site import Site

_SAVED = epilog(
    "0: saved; 1: not, or not all of it: run it again; 2: wrong use",
    "barewind bundle save inventory/prod.py /mnt/disk/bundle",
)
_LOADED = epilog(
    "0: loaded; 1: not: the bundle is not whole, or another one, or cannot be put there; 2: wrong use",
    "barewind bundle load /mnt/disk/bundle --to inventory/prod.py --expect ID",
    "barewind bundle load /mnt/disk/bundle --to 10.0.0.9:5000 --plain-http --weights /srv/weights",
)
_KEEP_ALL = 10**6  # releases: a registry named by hand is not tidied up


@click.group(epilog=_SAVED)
def bundle() -> None:
    """Take images and weights to a site without a network.

    A bundle also lists the packages that the site needs. It is checked before it is used.
    """


@bundle.command(epilog=_SAVED)
@inventory_argument
@click.argument("directory", type=click.Path(path_type=Path))
@data_option
def save(inventory_file: str, directory: Path, data: tuple[str, ...]) -> None:
    """Save what INVENTORY needs in DIRECTORY.

    That is what the lock file holds. A command that was cut off goes on where it was when it is run again.
    """
    site = site_of(inventory_file, data)  # before the imports: pyinfra makes the process cooperative first of all
    from barewind.bundle.save import save as save_bundle
    from barewind.lock import file as lock
    from barewind.mirror.generations import fleet_name
    from barewind.progress.transfers import Transfers

    held = lock.read(site.lock_file)
    with Transfers() as transfers:
        identity = save_bundle(site, held, directory, fleet_name(inventory_file), transfers)
    click.echo(f"Saved {directory}: bundle {identity}")
    click.echo(f"On the site: barewind bundle load {directory} --to INVENTORY --expect {identity}")


@bundle.command(epilog=_LOADED)
@click.argument("directory", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--to",
    "target",
    required=True,
    metavar="REGISTRY|INVENTORY",
    help="Put the images into this registry, or into the mirrors of this fleet.",
)
@click.option(
    "--weights", type=click.Path(path_type=Path, file_okay=False), help="Copy the weights to this directory, too."
)
@click.option("--expect", metavar="ID", help="Refuse any bundle but the one with this id, which `bundle save` printed.")
@click.option("--plain-http", is_flag=True, help="Speak plain HTTP to REGISTRY: only on a private network.")
@click.option("--ca", metavar="FILE", help="Trust this certificate authority for REGISTRY.")
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
    """Check the bundle in DIRECTORY, then load it.

    Its images are put into a registry, and its weights where hosts find them. A bundle that is not complete or was changed is
    not used at all.
    """
    inventory = target.endswith(".py") or Path(target).is_file()
    site = site_of(target, data) if inventory else None
    from barewind.bundle.about import WEIGHTS
    from barewind.bundle.load import check, push, put_weights
    from barewind.mirror.contents import Mirror
    from barewind.mirror.filling import filling
    from barewind.progress.transfers import Transfers

    with Transfers() as transfers:
        content = check(directory, transfers, expected=expect)
        transfers.say(f"{directory}: complete and unchanged, bundle {content.identity}")
        registries = [Mirror(target, plain_http, ca, _KEEP_ALL)] if site is None else _mirrors(site, content, transfers)
        for registry in registries:
            with filling(registry, target, data) as writable:
                push(content, writable, datetime.now(UTC), transfers)
        if weights is not None:
            put_weights(content, weights, transfers)
    path = weights or directory / WEIGHTS
    message = f"Loaded. The weights are in {path}: have a web server that knows ranges serve it, and name its URL in weights_path"
    if weights is not None:
        message += '; or have hosts mount it, with weights_source = "path" and weights_path where they do'
    click.echo(f"{message}.")


def _mirrors(site: Site, content: Bundle, transfers: Transfers) -> list[Mirror]:
    from barewind.bundle.load import agree
    from barewind.lock import file as lock
    from barewind.mirror import contents as mirror

    if agree(content, site):
        transfers.say(f"Wrote {site.lock_file} from the bundle. Review it and commit it.")
    try:
        return mirror.mirrors(site, lock.read(site.lock_file))
    except BarewindError as error:
        raise BarewindError(f"{error} A bundle's images need a registry that hosts pull from.") from error
