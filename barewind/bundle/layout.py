"""Images as an OCI image layout: blobs by digest, an index that names them. A transfer that broke off goes on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Protocol

from barewind.bundle.checksums import pieces
from barewind.errors import BarewindError
from barewind.registry.client import Refused, Unreachable
from barewind.registry.repository import Blob, Document, sha256

_NAME = "org.opencontainers.image.ref.name"
_INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
_MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
_PARTIAL = ".partial"


class ResumableSource(Protocol):
    """A place that blobs come from, from any byte on."""

    def read(self, blob: Blob, start: int = 0, so_far: Iterable[bytes] = ...) -> Iterator[bytes]:
        """The bytes from `start` on, checked together with those `so_far`."""


class Layout:
    """An OCI image layout in a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._blobs = directory / "blobs" / "sha256"

    def path(self, digest: str) -> Path:
        """The file of a blob or manifest."""
        return self._blobs / digest.removeprefix("sha256:")

    def has(self, blob: Blob) -> bool:
        """Whether a blob is there, by name and size: it got its name when it was right."""
        path = self.path(blob.digest)
        return path.is_file() and path.stat().st_size == blob.size

    def manifest(self, reference: str) -> Document:
        """A manifest by digest.

        Raises:
            BarewindError: it is not there, or is not what its digest says.
        """
        try:
            content = self.path(reference).read_bytes()
        except OSError as error:
            raise BarewindError(f"{self.path(reference)}: {error.strerror}; the bundle is not complete.") from error
        if sha256(content) != reference:
            raise BarewindError(f"{self.path(reference)}: is not what its name says; the bundle was changed.")
        data = json.loads(content)
        return Document(data.get("mediaType") or (_INDEX_TYPE if "manifests" in data else _MANIFEST_TYPE), content)

    def read(self, blob: Blob) -> Iterator[bytes]:
        """A blob, checked while it is read: the last piece comes only when all of it is right.

        Raises:
            BarewindError: it is not there, or is not what its digest says.
        """
        path = self.path(blob.digest)
        hashed, last = hashlib.sha256(), b""
        try:
            for piece in pieces(path):
                hashed.update(piece)
                if last:
                    yield last
                last = piece
        except OSError as error:
            raise BarewindError(f"{path}: {error.strerror}; the bundle is not complete.") from error
        if f"sha256:{hashed.hexdigest()}" != blob.digest:
            raise BarewindError(f"{path}: is not what its name says; the bundle was changed.")
        if last:
            yield last

    def take(self, blob: Blob, source: ResumableSource, received: Callable[[int], None]) -> None:
        """Have a blob, calling `received` with each number of bytes, those of an earlier run first. It is named once it is right.

        Raises:
            BarewindError: it cannot be had; what came stays for the next time, unless it was wrong.
        """
        path = self.path(blob.digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + _PARTIAL)
        start = min(part.stat().st_size, blob.size) if part.is_file() else 0
        received(start)
        try:
            with part.open("r+b" if start else "wb") as file:
                file.seek(start)
                for piece in source.read(blob, start, pieces(part, start)):
                    file.write(piece)
                    received(len(piece))
                file.truncate()
        except (Unreachable, Refused):
            raise
        except BarewindError:
            part.unlink()
            raise
        part.rename(path)

    def put(self, document: Document) -> None:
        """Store a manifest."""
        path = self.path(document.digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(document.content)

    def name(self, images: dict[str, Document]) -> None:
        """Write the index: every image under its name."""
        entries = [
            {
                "mediaType": document.media_type,
                "digest": document.digest,
                "size": len(document.content),
                "annotations": {_NAME: reference},
            }
            for reference, document in images.items()
        ]
        (self.directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}\n')
        index = {"schemaVersion": 2, "mediaType": _INDEX_TYPE, "manifests": entries}
        (self.directory / "index.json").write_text(json.dumps(index, indent=2) + "\n")

    def keep(self, digests: set[str]) -> None:
        """Remove every blob and part of one that is not among these."""
        for path in self._blobs.iterdir() if self._blobs.is_dir() else ():
            if f"sha256:{path.name}" not in digests:
                path.unlink()
