"""Saving a bundle: what is there already stays, what broke off goes on."""

from __future__ import annotations

import shutil
from pathlib import Path
from threading import Event

import yaml

from barewind import bundle, images, lock
from barewind.bundle import checksums, packages
from barewind.bundle.layout import Layout
from barewind.bundle.weights import CACHE, fetch
from barewind.errors import BarewindError
from barewind.lock import Lock, LockedImage
from barewind.meter import size
from barewind.mirror import copy, wanted
from barewind.registry.client import RegistryError
from barewind.registry.lookup import repository
from barewind.registry.repository import Blob, Document, Repository
from barewind.resolver import Needs, needs
from barewind.site import Site
from barewind.spec import EngineSpec
from barewind.transfers import Transfer, Transfers
from barewind.weights import Manifest


def save(site: Site, held: Lock, directory: Path, fleet: str, shown: Transfers) -> str:
    """Save everything a site needs; returns the bundle's identity.

    Raises:
        BarewindError: something is not locked, cannot be had, or is not what the lock says; what is complete stays.
    """
    needed = needs(site)
    own = _own_lock(needed, held, site.lock_file)
    _prepare(directory)
    known = _images(needed, own, Layout(directory / bundle.IMAGES), shown)
    for manifest, spec in _weights(needed, own):
        known |= fetch(manifest, spec, directory, shown)
    _forget_weights(own, directory / bundle.WEIGHTS)
    lock.write(own, directory / bundle.LOCK)
    text = yaml.safe_dump(packages.listed(site), sort_keys=False, width=120)
    (directory / bundle.PACKAGES).write_text(text)
    (directory / bundle.ABOUT).write_text(bundle.about(fleet))
    return checksums.write(directory, known)


def _own_lock(needed: Needs, held: Lock, lock_file: str) -> Lock:
    """The part of a lock that a site needs."""
    missing = [f"image {reference}" for reference in needed.images if reference not in held.images]
    missing += [f"weights {name[0]}@{name[1]}" for name in needed.weights if held.manifest(*name) is None]
    if missing:
        raise BarewindError(f"{lock_file}: does not hold {', '.join(missing)}; run: barewind lock INVENTORY")
    weights = [found for name in needed.weights if (found := held.manifest(*name)) is not None]
    return Lock(
        created=held.created,
        images={reference: held.images[reference] for reference in needed.images},
        weights=[one for number, one in enumerate(weights) if one not in weights[:number]],
    )


def _prepare(directory: Path) -> None:
    """A directory of ours: from now on it is no complete bundle until its checksums are written anew."""
    marks = (bundle.CHECKSUMS, bundle.ABOUT, bundle.IMAGES)
    if directory.is_dir() and any(directory.iterdir()) and not any((directory / mark).exists() for mark in marks):
        raise BarewindError(f"{directory}: holds something else; name an empty directory, or one that does not exist.")
    try:
        (directory / bundle.IMAGES).mkdir(parents=True, exist_ok=True)
        (directory / bundle.CHECKSUMS).unlink(missing_ok=True)
    except OSError as error:
        raise BarewindError(f"{directory}: cannot be written to ({error.strerror}); name another directory.") from error


def _images(needed: Needs, own: Lock, layout: Layout, shown: Transfers) -> dict[str, str]:
    """Every image in the layout, and nothing else; SHA-256 of what is there by name."""
    named: dict[str, Document] = {}
    digests: set[str] = set()
    for reference, spec in needed.images.items():
        image = own.images[reference]
        digest = wanted(reference, image).digest
        source = _source(reference, image, spec)
        documents = list(copy.named(source, digest))
        blobs = {blob.digest: blob for document in documents for blob in document.blobs}
        lacking = [blob for blob in blobs.values() if not layout.has(blob)]
        with shown.begin(reference, sum(blob.size for blob in lacking)) as transfer:
            _take(layout, source, lacking, transfer)
        for document in documents:
            layout.put(document)
        named[reference] = documents[-1]
        digests |= blobs.keys() | {document.digest for document in documents}
        shown.say(f"{reference}: {size(sum(blob.size for blob in blobs.values()))}, {digest}")
    layout.keep(digests)
    layout.name(named)
    return {f"{bundle.IMAGES}/blobs/sha256/{one[7:]}": one[7:] for one in digests}


def _take(layout: Layout, source: Repository, blobs: list[Blob], transfer: Transfer) -> None:
    def one(blob: Blob, stop: Event) -> None:
        def came(amount: int) -> None:
            transfer.advance(amount)
            if stop.is_set():
                raise copy.Stopped

        layout.take(blob, source, came)

    copy.side_by_side(blobs, one)


def _source(reference: str, image: LockedImage, spec: EngineSpec) -> Repository:
    """The fleet's mirror if it has the image, its own registry otherwise."""
    if spec.mirror is not None:
        mirror = Repository(
            spec.mirror,
            images.mirror_repository(reference),
            plain=not spec.mirror_tls,
            ca=spec.mirror_ca,
            what=f"mirror {spec.mirror}",
        )
        try:
            if copy.whole(mirror, wanted(reference, image).digest):
                return mirror
        except RegistryError:
            pass  # upstream may have it
    return repository(reference, tuple(spec.insecure_registries))


def _weights(needed: Needs, own: Lock) -> list[tuple[Manifest, EngineSpec]]:
    """Each manifest once, with the spec that says where it is to be had."""
    found: dict[int, tuple[Manifest, EngineSpec]] = {}
    for name, spec in needed.weights.items():
        manifest = own.manifest(*name)
        if manifest is not None:
            found.setdefault(own.weights.index(manifest), (manifest, spec))
    return list(found.values())


def _forget_weights(own: Lock, folder: Path) -> None:
    """Files of revisions that are needed no more."""
    shutil.rmtree(folder.parent / CACHE, ignore_errors=True)
    kept = {folder / bundle.weights_folder(one) / name for one in own.weights for name in one.files}
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_file() and path not in kept:
            path.unlink()
        elif path.is_dir() and not any(path.iterdir()):
            path.rmdir()
