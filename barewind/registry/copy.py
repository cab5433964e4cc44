"""One image from a source into a repository: what is there stays, what is missing is streamed, digests stay the same."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from typing import Protocol

from barewind.progress.transfers import Transfer, Transfers
from barewind.registry.client import Refused, RegistryError, Unreachable
from barewind.registry.repository import UNKNOWN, Blob, Document, Repository

REPAIR = "on the mirror's host run: systemctl start barewind-mirror@check; then here: barewind mirror INVENTORY"
_AT_A_TIME = 3  # blobs; one connection alone rarely fills a line


class Source(Protocol):
    """A place that images come from: a registry's repository, or a bundle."""

    def manifest(self, reference: str) -> Document:
        """The manifest of a digest, checked."""

    def read(self, blob: Blob) -> Iterator[bytes]:
        """The bytes of a blob, checked; the last piece comes only when all of it is right."""


class Stopped(Exception):
    """The copy of another blob has failed, and ended all of them."""


def copy_image(source: Source, target: Repository, digest: str, name: str, shown: Transfers) -> int:
    """Have a complete image in a repository; returns the number of bytes that were sent.

    The manifest comes last: while a blob is missing nobody can pull. An index brings every platform that it names.

    Raises:
        RegistryError: source or target fail; what is complete stays for the next time.
    """
    documents = stored(target, digest) or list(manifests(source, digest))
    missing = [blob for blob in _blobs(documents) if not _has(target, blob)]
    with shown.begin(name, sum(blob.size for blob in missing)) as transfer:
        _upload(source, target, missing, transfer)
    for document in documents:
        if missing or target.digest(document.digest) is None:
            target.put_manifest(document.digest, document)
    if not is_complete(target, digest):
        raise RegistryError(f"{target.subject}: took {name}, but does not give it back whole; {REPAIR}")
    return sum(blob.size for blob in missing)


def stored(target: Repository, digest: str) -> list[Document] | None:
    """The manifests of an image that a repository has, those of an index first; None if one is missing or damaged."""
    try:
        return list(manifests(target, digest))
    except (Unreachable, Refused):
        raise
    except RegistryError:
        return None


def is_complete(target: Repository, digest: str) -> bool:
    """Whether a repository says that it has an image with all of its blobs; none is read."""
    documents = stored(target, digest)
    return documents is not None and all(_has(target, blob) for blob in _blobs(documents))


def manifests(source: Source, digest: str) -> Iterator[Document]:
    """The manifest of a digest and, before it, those that it names if it is an index."""
    document = source.manifest(digest)
    for child in document.children:
        yield from manifests(source, child["digest"])
    yield document


def damaged(target: Repository, digest: str, name: str, shown: Transfers) -> list[str]:
    """Read an image back; returns an error for each blob that is not what its digest says."""
    errors = []
    blobs = _blobs(stored(target, digest) or [])
    with shown.begin(name, sum(blob.size for blob in blobs)) as transfer:
        for blob in blobs:
            try:
                for _ in transfer.counted(target.read(blob)):
                    pass
            except RegistryError as error:
                errors.append(str(error))
    return errors


def _has(target: Repository, blob: Blob) -> bool:
    """Whether a registry says that it has a blob.

    Raises:
        RegistryError: it has one of another length: it would take no other in its place.
    """
    size = target.size(blob.digest)
    if size is not None and size not in (blob.size, UNKNOWN):
        raise RegistryError(
            f"{target.subject}: {target.repository}@{blob.digest} is damaged: {size} bytes, {blob.size} wanted; {REPAIR}"
        )
    return size is not None


def _blobs(documents: Iterable[Document]) -> list[Blob]:
    """Every blob once, the largest first: it decides when all is done."""
    blobs = {blob.digest: blob for document in documents for blob in document.blobs}
    return sorted(blobs.values(), key=lambda blob: -blob.size)


def side_by_side(blobs: Iterable[Blob], work: Callable[[Blob, threading.Event], None]) -> None:
    """Do some work for several blobs at a time; the first failure stops the others, which look at the event."""
    stop = threading.Event()
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        jobs = [pool.submit(work, blob, stop) for blob in blobs]
        try:
            for job in as_completed(jobs):
                job.result()
        except BaseException:
            stop.set()
            for job in jobs:
                job.cancel()
            raise


def _upload(source: Source, target: Repository, blobs: list[Blob], transfer: Transfer) -> None:
    def content(blob: Blob, stop: threading.Event) -> Iterator[bytes]:
        for piece in transfer.counted(source.read(blob)):
            if stop.is_set():
                raise Stopped
            yield piece

    side_by_side(blobs, lambda blob, stop: target.upload(blob, partial(content, blob, stop)))
