"""Saving a bundle: what is there already stays, what broke off goes on."""

from __future__ import annotations

import shutil
from pathlib import Path
from threading import Event

import yaml

from barewind.bundle import about, checksums, packages
from barewind.bundle.layout import Layout
from barewind.bundle.weights import CACHE, fetch
from barewind.checksums import SUMS
from barewind.errors import BarewindError
from barewind.lock import file as lock_file
from barewind.lock.file import Lock
from barewind.lock.manifest import Manifest
from barewind.lock.resolve import Needs, needs
from barewind.mirror.contents import mirrored_image
from barewind.progress.meter import size
from barewind.progress.transfers import Transfer, Transfers
from barewind.registry import copy
from barewind.registry.client import RegistryError
from barewind.registry.image import LockedImage
from barewind.registry.lookup import repository
from barewind.registry.reference import ImageName, login_of, mirror_repository
from barewind.registry.repository import Blob, Document, Repository
from barewind.spec.keys import EngineSpec
from barewind.spec.site import Site


def save(site: Site, lock: Lock, directory: Path, fleet: str, shown: Transfers) -> str:
    """Save everything a site needs; returns the bundle's identity.

    Raises:
        BarewindError: something is not locked, cannot be had, or is not what the lock says; what is complete stays.
    """
    needed = needs(site)
    own = _own_lock(needed, lock, site.lock_file)
    _prepare(directory)
    known = _images(needed, own, Layout(directory / about.IMAGES), shown)
    for manifest, spec in _weights(needed, own):
        known |= fetch(manifest, spec, directory, shown)
    _forget_weights(own, directory / about.WEIGHTS)
    lock_file.write(own, directory / about.LOCK)
    text = yaml.safe_dump(packages.listed(site), sort_keys=False, width=120)
    (directory / about.PACKAGES).write_text(text)
    (directory / about.DESCRIPTION).write_text(about.describe(fleet))
    return checksums.write(directory, known)


def _own_lock(needed: Needs, lock: Lock, path: str) -> Lock:
    """The part of a lock that a site needs."""
    missing = [f"image {reference}" for reference in needed.images if reference not in lock.images]
    missing += [f"weights {name[0]}@{name[1]}" for name in needed.weights if lock.manifest(*name) is None]
    if missing:
        raise BarewindError(f"{path}: does not hold {', '.join(missing)}; run: barewind lock INVENTORY")
    weights = [manifest for name in needed.weights if (manifest := lock.manifest(*name)) is not None]
    return Lock(
        created=lock.created,
        images={reference: lock.images[reference] for reference in needed.images},
        weights=[manifest for number, manifest in enumerate(weights) if manifest not in weights[:number]],
    )


def _prepare(directory: Path) -> None:
    """A directory of ours: from now on it is no complete bundle until its checksums are written anew."""
    marks = (SUMS, about.DESCRIPTION, about.IMAGES)
    if directory.is_dir() and any(directory.iterdir()) and not any((directory / mark).exists() for mark in marks):
        raise BarewindError(f"{directory}: holds something else; name an empty directory, or one that does not exist.")
    try:
        (directory / about.IMAGES).mkdir(parents=True, exist_ok=True)
        (directory / SUMS).unlink(missing_ok=True)
    except OSError as error:
        raise BarewindError(f"{directory}: cannot be written to ({error.strerror}); name another directory.") from error


def _images(needed: Needs, own: Lock, layout: Layout, shown: Transfers) -> dict[str, str]:
    """Every image in the layout, and nothing else; SHA-256 of what is there by name."""
    named: dict[str, Document] = {}
    digests: set[str] = set()
    for reference, spec in needed.images.items():
        image = own.images[reference]
        digest = mirrored_image(reference, image).digest
        source = _source(reference, image, spec)
        documents = list(copy.manifests(source, digest))
        blobs = {blob.digest: blob for document in documents for blob in document.blobs}
        missing = [blob for blob in blobs.values() if not layout.has(blob)]
        with shown.begin(reference, sum(blob.size for blob in missing)) as transfer:
            _take(layout, source, missing, transfer)
        for document in documents:
            layout.put(document)
        named[reference] = documents[-1]
        digests |= blobs.keys() | {document.digest for document in documents}
        shown.say(f"{reference}: {size(sum(blob.size for blob in blobs.values()))}, {digest}")
    layout.keep(digests)
    layout.name(named)
    return {f"{about.IMAGES}/blobs/sha256/{digest[7:]}": digest[7:] for digest in digests}


def _take(layout: Layout, source: Repository, blobs: list[Blob], transfer: Transfer) -> None:
    def take(blob: Blob, stop: Event) -> None:
        def received(amount: int) -> None:
            transfer.advance(amount)
            if stop.is_set():
                raise copy.Stopped

        layout.take(blob, source, received)

    copy.side_by_side(blobs, take)


def _source(reference: ImageName, image: LockedImage, spec: EngineSpec) -> Repository:
    """The fleet's mirror if it has the image, its own registry otherwise."""
    if spec.mirror is not None:
        mirror = Repository(
            spec.mirror,
            mirror_repository(reference),
            plain=not spec.mirror_tls,
            ca=spec.mirror_ca,
            subject=f"mirror {spec.mirror}",
            login=login_of(spec.mirror, spec.registry_logins),
        )
        try:
            if copy.is_complete(mirror, mirrored_image(reference, image).digest):
                return mirror
        except RegistryError:
            pass  # upstream may have it
    return repository(reference, tuple(spec.insecure_registries), spec.registry_logins)


def _weights(needed: Needs, own: Lock) -> list[tuple[Manifest, EngineSpec]]:
    """Each manifest once, with the spec that says where it is to be had."""
    sources: dict[int, tuple[Manifest, EngineSpec]] = {}
    for name, spec in needed.weights.items():
        manifest = own.manifest(*name)
        if manifest is not None:
            sources.setdefault(own.weights.index(manifest), (manifest, spec))
    return list(sources.values())


def _forget_weights(own: Lock, folder: Path) -> None:
    """Files of revisions that are needed no more."""
    shutil.rmtree(folder.parent / CACHE, ignore_errors=True)
    kept = {folder / about.weights_folder(manifest) / name for manifest in own.weights for name in manifest.files}
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_file() and path not in kept:
            path.unlink()
        elif path.is_dir() and not any(path.iterdir()):
            path.rmdir()
