"""One image from a source into a repository: what is there stays, what is missing is streamed, digests stay the same."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from typing import Protocol

from barewind.registry.client import Refused, RegistryError, Unreachable
from barewind.registry.repository import UNKNOWN, Blob, Document, Repository
from barewind.transfers import Transfer, Transfers

REPAIR = "on the mirror's host run: systemctl start barewind-mirror@check; then here: barewind mirror INVENTORY"
_AT_A_TIME = 3  # blobs; one connection alone rarely fills a line


class Source(Protocol):
    """Where an image comes from: a registry's repository, or a bundle."""

    def manifest(self, reference: str) -> Document:
        """A manifest by digest, checked."""

    def read(self, blob: Blob) -> Iterator[bytes]:
        """A blob, checked; its last piece comes only when all of it is right."""


class Stopped(Exception):
    """Another blob's failure has ended the whole copy."""


def copy_image(source: Source, target: Repository, digest: str, name: str, shown: Transfers) -> int:
    """Have an image in a repository, whole; returns the bytes that were sent.

    The manifest comes last: while a blob is missing nobody can pull. An index brings every platform that it names.

    Raises:
        RegistryError: source or target fail; what is complete stays for the next time.
    """
    documents = stored(target, digest) or list(named(source, digest))
    lacking = [blob for blob in _blobs(documents) if not _there(target, blob)]
    with shown.begin(name, sum(blob.size for blob in lacking)) as transfer:
        _upload(source, target, lacking, transfer)
    for document in documents:
        if lacking or target.digest(document.digest) is None:
            target.put_manifest(document.digest, document)
    if not whole(target, digest):
        raise RegistryError(f"{target.what}: took {name}, but does not give it back whole; {REPAIR}")
    return sum(blob.size for blob in lacking)


def stored(target: Repository, digest: str) -> list[Document] | None:
    """The manifests of an image that a repository has, those of an index first; None if one is missing or damaged."""
    try:
        return list(named(target, digest))
    except (Unreachable, Refused):
        raise
    except RegistryError:
        return None


def whole(target: Repository, digest: str) -> bool:
    """Whether a repository has an image with all of its blobs, by what it says; nothing is read."""
    documents = stored(target, digest)
    return documents is not None and all(_there(target, blob) for blob in _blobs(documents))


def named(source: Source, digest: str) -> Iterator[Document]:
    """A manifest and, before it, those that it names if it is an index."""
    document = source.manifest(digest)
    for child in document.children:
        yield from named(source, child["digest"])
    yield document


def damaged(target: Repository, digest: str, name: str, shown: Transfers) -> list[str]:
    """Read an image back and name the blobs that are not what their digest says."""
    found = []
    blobs = _blobs(stored(target, digest) or [])
    with shown.begin(name, sum(blob.size for blob in blobs)) as transfer:
        for blob in blobs:
            try:
                for _ in transfer.counted(target.read(blob)):
                    pass
            except RegistryError as error:
                found.append(str(error))
    return found


def _there(target: Repository, blob: Blob) -> bool:
    """Whether a registry says that it has a blob.

    Raises:
        RegistryError: it has one of another length: it would take no other in its place.
    """
    found = target.size(blob.digest)
    if found is not None and found not in (blob.size, UNKNOWN):
        raise RegistryError(
            f"{target.what}: {target.repository}@{blob.digest} is damaged: {found} bytes, {blob.size} wanted; {REPAIR}"
        )
    return found is not None


def _blobs(documents: Iterable[Document]) -> list[Blob]:
    """Every blob once, the largest first: it decides when all is done."""
    each = {blob.digest: blob for document in documents for blob in document.blobs}
    return sorted(each.values(), key=lambda blob: -blob.size)


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
