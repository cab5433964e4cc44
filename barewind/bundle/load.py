"""Loading a bundle: checked first, as a whole; then images into mirrors and weights where hosts find them."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from barewind import bundle, lock, mirror
from barewind.bundle import Bundle, checksums
from barewind.bundle.layout import Layout
from barewind.bundle.weights import place
from barewind.errors import BarewindError
from barewind.lock import Lock
from barewind.mirror import Mirror, copy, wanted
from barewind.resolver import needs
from barewind.site import Site
from barewind.transfers import Transfers

_UNUSED = f"nothing of it was used. Copy it again, or {bundle.AGAIN}."


def check(directory: Path, shown: Transfers, *, expected: str | None = None) -> Bundle:
    """Read all of a bundle against its checksums, and its contents against its lock.

    + expected: the identity that it must have, as `bundle save` told it

    Raises:
        BarewindError: it is not complete, was changed, or is another one; nothing was used.
    """
    identity = checksums.identity(directory)
    if expected is not None and identity != expected.lower():
        raise BarewindError(
            f"{directory}: is bundle {identity}, not {expected}; nothing of it was used. Get the right one."
        )
    sums = checksums.check(directory, shown)
    found = bundle.read(directory, identity)
    for path, digest in sums.items():
        folder, _, name = path.rpartition("/")
        if folder == f"{bundle.IMAGES}/blobs/sha256" and name != digest:
            raise BarewindError(f"{directory}: {path} is not what its name says; {_UNUSED}")
    _check_images(found)
    for manifest in found.held.weights:
        for name, file in manifest.files.items():
            path = f"{bundle.WEIGHTS}/{bundle.weights_folder(manifest)}/{name}"
            if sums.get(path) != file.sha256:
                raise BarewindError(f"{directory}: {path} is not what its lock says; {_UNUSED}")
    return found


def agree(found: Bundle, site: Site) -> bool:
    """Bring a site's lock file and a bundle together: write it where there is none. True if it was written.

    Raises:
        BarewindError: the site's lock names other bytes than the bundle has, or needs what is not in it.
    """
    held = lock.read(site.lock_file)
    written = held == Lock()
    if written:
        held = found.held
    needed, problems = needs(site), []
    for reference in needed.images:
        want, have = held.images.get(reference), found.held.images.get(reference)
        if have is None or want is None or have.digest != want.digest:
            problems.append(f"image {reference}: {want and want.digest} locked, {have and have.digest} in the bundle")
    for name in needed.weights:
        files, there = held.manifest(*name), found.held.manifest(*name)
        if there is None or files is None or (files.revision, files.files) != (there.revision, there.files):
            problems.append(
                f"weights {name[0]}@{name[1]}: {files and files.revision} locked, {there and there.revision} in the bundle"
            )
    if problems:
        raise BarewindError(
            f"{found.directory}: does not hold what {site.lock_file} says: {'; '.join(problems)}. Nothing of it was used. Save "
            f"a bundle with this lock file, or take the bundle's: cp {found.directory / bundle.LOCK} {site.lock_file}"
        )
    if written:
        lock.write(found.held, site.lock_file)
    return written


def push(found: Bundle, target: Mirror, now: datetime, shown: Transfers) -> None:
    """Have a mirror hold the images that it wants, all of the bundle's if it does not say.

    Raises:
        BarewindError: the mirror fails; what is complete stays for the next time.
    """
    if not target.wanted:
        target.wanted = {name: wanted(name, image) for name, image in found.held.images.items()}
    layout = Layout(found.directory / bundle.IMAGES)
    mirror.fill(target, found.fleet, now, shown, source=lambda _: layout)


def put_weights(found: Bundle, target: Path, shown: Transfers) -> None:
    """Have a bundle's weights in a directory, laid out as in the bundle.

    Raises:
        BarewindError: it cannot be written to.
    """
    for manifest in found.held.weights:
        place(manifest, found.directory, target, shown)


def _check_images(found: Bundle) -> None:
    layout = Layout(found.directory / bundle.IMAGES)
    for reference, image in found.held.images.items():
        for document in copy.named(layout, wanted(reference, image).digest):
            for blob in document.blobs:
                if not layout.has(blob):
                    raise BarewindError(
                        f"{layout.path(blob.digest)}: is missing; image {reference} is not complete; {_UNUSED}"
                    )
