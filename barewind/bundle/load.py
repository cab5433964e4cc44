"""Loading a bundle: checked first, as a whole; then images into mirrors and weights where hosts find them."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from barewind.bundle import about, checksums
from barewind.bundle.about import Bundle
from barewind.bundle.layout import Layout
from barewind.bundle.weights import place
from barewind.errors import BarewindError
from barewind.lock import file as lock_file
from barewind.lock.file import Lock
from barewind.lock.resolve import needs
from barewind.mirror.contents import Mirror, fill, mirrored_image
from barewind.progress.transfers import Transfers
from barewind.registry import copy
from barewind.spec.site import Site

_UNUSED = f"nothing of it was used. Copy it again, or {about.AGAIN}."


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
    loaded = about.read(directory, identity)
    for path, digest in sums.items():
        folder, _, name = path.rpartition("/")
        if folder == f"{about.IMAGES}/blobs/sha256" and name != digest:
            raise BarewindError(f"{directory}: {path} is not what its name says; {_UNUSED}")
    _check_images(loaded)
    for manifest in loaded.lock.weights:
        for name, file in manifest.files.items():
            path = f"{about.WEIGHTS}/{about.weights_folder(manifest)}/{name}"
            if sums.get(path) != file.sha256:
                raise BarewindError(f"{directory}: {path} is not what its lock says; {_UNUSED}")
    return loaded


def agree(bundle: Bundle, site: Site) -> bool:
    """Bring a site's lock file and a bundle together: write it where there is none. True if it was written.

    Raises:
        BarewindError: the site's lock names other bytes than the bundle has, or needs what is not in it.
    """
    lock = lock_file.read(site.lock_file)
    written = lock == Lock()
    if written:
        lock = bundle.lock
    needed, problems = needs(site), []
    for reference in needed.images:
        locked, saved = lock.images.get(reference), bundle.lock.images.get(reference)
        if saved is None or locked is None or saved.digest != locked.digest:
            problems.append(
                f"image {reference}: {locked and locked.digest} locked, {saved and saved.digest} in the bundle"
            )
    for name in needed.weights:
        ours, theirs = lock.manifest(*name), bundle.lock.manifest(*name)
        if theirs is None or ours is None or (ours.revision, ours.files) != (theirs.revision, theirs.files):
            problems.append(
                f"weights {name[0]}@{name[1]}: {ours and ours.revision} locked, {theirs and theirs.revision} in the bundle"
            )
    if problems:
        raise BarewindError(
            f"{bundle.directory}: does not hold what {site.lock_file} says: {'; '.join(problems)}. Nothing of it was used. Save "
            f"a bundle with this lock file, or take the bundle's: cp {bundle.directory / about.LOCK} {site.lock_file}"
        )
    if written:
        lock_file.write(bundle.lock, site.lock_file)
    return written


def push(bundle: Bundle, target: Mirror, now: datetime, shown: Transfers) -> None:
    """Have a mirror hold the images that it wants, all of the bundle's if it does not say.

    Raises:
        BarewindError: the mirror fails; what is complete stays for the next time.
    """
    if not target.images:
        target.images = {name: mirrored_image(name, image) for name, image in bundle.lock.images.items()}
    layout = Layout(bundle.directory / about.IMAGES)
    fill(target, bundle.fleet, now, shown, source=lambda _: layout)


def put_weights(bundle: Bundle, target: Path, shown: Transfers) -> None:
    """Have a bundle's weights in a directory, laid out as in the bundle.

    Raises:
        BarewindError: it cannot be written to.
    """
    for manifest in bundle.lock.weights:
        place(manifest, bundle.directory, target, shown)


def _check_images(bundle: Bundle) -> None:
    layout = Layout(bundle.directory / about.IMAGES)
    for reference, image in bundle.lock.images.items():
        for document in copy.manifests(layout, mirrored_image(reference, image).digest):
            for blob in document.blobs:
                if not layout.has(blob):
                    raise BarewindError(
                        f"{layout.path(blob.digest)}: is missing; image {reference} is not complete; {_UNUSED}"
                    )
