"""`barewind init`: a repository of a user's own."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import click

from barewind.cli.options import epilog
from barewind.init.plan import INVENTORY, files
from barewind.init.write import write


@click.command(
    epilog=epilog(
        "0: done; 1: DIR has other things in it, or cannot be written to; 2: wrong use",
        "barewind init fleet && cd fleet && barewind discover gpu1 gpu2 lb1",
    )
)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
def init(folder: Path) -> None:
    """Write the files of a site to DIR: inventory, group data, and what is run there. Nothing is asked, no file is written over.

    In a site that is there, what it lacks is written, and what differs from a new one's is named.
    """
    written, differing = write(folder, files(metadata.version("barewind")))
    for name in written:
        click.echo(f"wrote {folder / name}")
    for name in differing:
        click.echo(f"kept {folder / name}: other than a new site's")
    if not written:
        click.echo(f"{folder} has every file of a site.")
    here = "" if folder.resolve() == Path.cwd() else f"cd {folder} && "
    if INVENTORY in written:
        click.echo(f"Next: {here}barewind discover HOST..., then: barewind plan {INVENTORY}")
    else:
        click.echo(f"Next: {here}barewind plan {INVENTORY}")
