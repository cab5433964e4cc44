"""`barewind lock`: digests and files for the names in group data, kept in a file that is reviewed and committed."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from barewind.cli.options import data_option, epilog, inventory_argument, site_of
from barewind.errors import BarewindError
from barewind.lock import file as lock_file
from barewind.lock.file import Lock
from barewind.registry.image import LockedImage
from barewind.spec.site import Site

_GIB = 2**30


@click.command(
    "lock",
    epilog=epilog(
        "0: all of it is locked; 1: something cannot be resolved, or (--check) something moved upstream; 2: wrong use, or "
        "(--check) something could not be asked. Sizes are in GiB",
        "barewind lock inventory/prod.py",
        "barewind lock inventory/prod.py --check",
        "barewind lock inventory/prod.py --update",
    ),
)
@inventory_argument
@data_option
@click.option("--update", is_flag=True, help="Resolve everything anew. Without it, what is locked stays as it is.")
@click.option(
    "--check",
    is_flag=True,
    help="Write nothing, and show what moved upstream.",
)
def lock(inventory_file: str, data: tuple[str, ...], update: bool, check: bool) -> None:
    """Write the lock file: digests of images, files of weights.

    What the inventory needs and the lock file lacks is added; what no host needs is dropped.
    """
    if update and check:
        raise click.UsageError("--check writes nothing: leave --update out.")
    if check:
        try:
            _check(site_of(inventory_file, data))
        except BarewindError as error:
            click.echo(f"Error: {error}", err=True)
            raise SystemExit(2) from error
        return
    site = site_of(inventory_file, data)
    try:
        held = lock_file.read(site.lock_file)
    except BarewindError:
        if not update:
            raise
        held = Lock()  # nothing of a damaged file is needed to write it anew
    _write(site, held, update=update)


def _write(site: Site, held: Lock, *, update: bool) -> None:
    from barewind.lock import resolve as resolver  # the hub's client is slow to import

    resolved = resolver.resolve(site) if update else resolver.complete(site, held)
    _show(resolved, held)
    if resolved is held:
        click.echo(f"{site.lock_file} holds all of it already. What moved upstream: barewind lock INVENTORY --check")
        return
    lock_file.write(resolved, site.lock_file)
    click.echo(f"Wrote {site.lock_file}. Review it and commit it.")


def _show(resolved: Lock, held: Lock) -> None:
    for reference, image in resolved.images.items():
        before = held.images.get(reference)
        line = f"{reference} -> {image.digest} ({', '.join(_about(image))})"
        click.echo(line + _change(before.digest if before else None, image.digest, first=not held.images))
    for manifest in resolved.weights:
        earlier = held.manifest(manifest.model, manifest.requested, manifest.layout)
        line = (
            f"{manifest.model}@{manifest.requested} -> {manifest.revision} ({manifest.layout} layout, "
            f"{len(manifest.files)} files, {manifest.size / _GIB:.2f} GiB)"
        )
        click.echo(line + _change(earlier.revision if earlier else None, manifest.revision, first=not held.weights))
    for reference in held.images:
        if reference not in resolved.images:
            click.echo(f"{reference}: dropped, no host serves it")
    for manifest in held.weights:
        if resolved.manifest(manifest.model, manifest.requested, manifest.layout) is None:
            click.echo(f"{manifest.model}@{manifest.requested} ({manifest.layout} layout): dropped, no host serves it")


def _about(image: LockedImage) -> list[str]:
    facts = [f"{image.size / _GIB:.2f} GiB compressed"]
    facts += [f"built {image.created:%Y-%m-%d}"] if image.created else []
    facts += [f"version {image.version}"] if image.version else []
    return facts + [f"{name} {version}" for name, version in (("CUDA", image.cuda), ("ROCm", image.rocm)) if version]


def _change(before: str | None, after: str, *, first: bool) -> str:
    if before is None:
        return "" if first else "; new"
    return "" if before == after else f"; was {before}"


def _check(site: Site) -> None:
    from barewind.lock import check as lock_check

    held = lock_file.read(site.lock_file)
    now = datetime.now(UTC)
    report = lock_check.check(site, held, now)
    for finding in report.findings:
        click.echo(f"{finding.state:<8}  {finding.entry}: {finding.detail}")
    for problem in report.unasked:
        click.echo(f"Error: {problem}", err=True)
    states = {finding.state for finding in report.findings}
    advice = "not everything could be asked" if report.unasked else "nothing to do"
    if states & {"moved", "gone"}:
        advice = "barewind lock INVENTORY --update takes what moved"
    elif states & {"missing", "unneeded"}:
        advice = "barewind lock INVENTORY puts it right"
    click.echo(f"{site.lock_file}: locked {lock_check.age(held.created, now)}; {advice}.")
    raise SystemExit(report.status)
