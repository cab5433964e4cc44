"""One repository of a registry: manifests byte for byte, blobs as streams whose SHA-256 is checked on the way."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import requests
import urllib3

from barewind.registry import client
from barewind.registry.client import Connection, NotThere, Refused, RegistryError, Unreachable

MANIFEST_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
UNKNOWN = -1
CHUNK = 2**20  # bytes read at a time
_ATTEMPTS = 5  # to go on with a transfer that broke off without getting a byte further
_BROKEN = (Unreachable, requests.RequestException, urllib3.exceptions.HTTPError, OSError)


@dataclass(frozen=True)
class Blob:
    """Something a manifest names by digest; `size` in bytes."""

    digest: str
    size: int


@dataclass(frozen=True)
class Document:
    """A manifest or index, as it was sent."""

    media_type: str
    content: bytes

    @property
    def digest(self) -> str:
        """SHA-256 of the content, whatever a header says."""
        return sha256(self.content)

    @cached_property
    def data(self) -> dict[str, Any]:
        """The content as JSON.

        Raises:
            ValueError: it is no JSON object.
        """
        return dict(json.loads(self.content))

    @property
    def children(self) -> list[dict[str, Any]]:
        """The descriptors of an index; empty for a single manifest."""
        return list(self.data.get("manifests", []))

    @property
    def blobs(self) -> list[Blob]:
        """Configuration and layers, each once; an index has none."""
        descriptors = [*([self.data["config"]] if "config" in self.data else []), *self.data.get("layers", [])]
        sizes = {descriptor["digest"]: int(descriptor["size"]) for descriptor in descriptors}
        return [Blob(digest, size) for digest, size in sizes.items()]


def sha256(content: bytes) -> str:
    """The digest of some bytes."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


class Repository(Connection):
    """One repository. Everything read is checked against the digest it was asked by."""

    def __init__(self, registry: str, repository: str, **connection: Any) -> None:
        super().__init__(registry, scope=f"repository:{repository}", **connection)
        self.repository = repository

    def manifest(self, reference: str) -> Document:
        """A manifest by tag or digest.

        Raises:
            RegistryError: it cannot be had, or what answered is none.
        """
        answer = self.send("GET", self._path("manifests", reference), headers={"Accept": ", ".join(MANIFEST_TYPES)})
        try:
            document = Document(_media_type(answer), answer.content)
            _ = document.blobs, document.children
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise RegistryError(f"{self.subject}: what answered is no registry (no JSON); check the name.") from error
        if reference.startswith("sha256:") and document.digest != reference:
            raise RegistryError(
                f"{self.subject}: the registry sent another manifest than {reference}; nothing was taken from it. Check what "
                "stands between, and try again."
            )
        return document

    def digest(self, reference: str) -> str | None:
        """The digest of a tag's or digest's manifest as the registry states it, or None where it has none."""
        try:
            answer = self.send(
                "HEAD", self._path("manifests", reference), headers={"Accept": ", ".join(MANIFEST_TYPES)}
            )
        except NotThere:
            return None
        return answer.headers.get("Docker-Content-Digest") or self.manifest(reference).digest

    def size(self, blob: str) -> int | None:
        """The size of a blob, bytes, or None where it is not there; UNKNOWN where it is and the registry does not say."""
        try:
            answer = self.send("HEAD", self._path("blobs", blob))
        except NotThere:
            return None
        return int(answer.headers.get("Content-Length", UNKNOWN))

    def read(self, blob: Blob, start: int = 0, so_far: Iterable[bytes] = ()) -> Iterator[bytes]:
        """The bytes of a blob from `start` on; a connection that breaks is taken up where it broke.

        The last piece comes only when the SHA-256 of all, `so_far` included, is right: who stops there has nothing whole.

        Raises:
            RegistryError: it cannot be had, or is not what its digest says.
        """
        hashed, received, last = hashlib.sha256(), start, b""
        for piece in so_far:
            hashed.update(piece)
        for piece in self._pieces(blob, start):
            received += len(piece)
            hashed.update(piece)
            if received > blob.size:
                break
            if last:
                yield last
            last = piece
        if received != blob.size or f"sha256:{hashed.hexdigest()}" != blob.digest:
            raise RegistryError(
                f"{self.subject}: {blob.digest} of {self.registry}/{self.repository} is damaged: {received} bytes with another "
                f"SHA-256, {blob.size} wanted. It was thrown away; try again, and check what stands between."
            )
        if last:
            yield last

    def document(self, digest: str) -> dict[str, Any]:
        """A small JSON blob, such as an image's configuration.

        Raises:
            RegistryError: it cannot be had, is no JSON, or is not what its digest says.
        """
        answer = self.send("GET", self._path("blobs", digest))
        if sha256(answer.content) != digest:
            raise RegistryError(f"{self.subject}: its configuration is not what its digest says; lock again.")
        try:
            return dict(json.loads(answer.content))
        except (ValueError, TypeError) as error:
            raise RegistryError(f"{self.subject}: what answered is no registry (no JSON); check the name.") from error

    def upload(self, blob: Blob, content: Callable[[], Iterator[bytes]]) -> None:
        """Store a blob; `content` begins it anew for each attempt.

        Raises:
            RegistryError: the registry does not take it; errors of `content` pass through.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self._upload(blob, content())
            except Unreachable:
                if attempt == _ATTEMPTS:
                    raise
                client.sleep(2.0**attempt)
            else:
                return

    def put_manifest(self, reference: str, document: Document) -> None:
        """Store a manifest, byte for byte, under a tag or its digest; what it names must be there.

        Raises:
            RegistryError: the registry does not take it.
        """
        self.send(
            "PUT",
            self._path("manifests", reference),
            headers={"Content-Type": document.media_type},
            body=document.content,
            expected=(201,),
        )

    def delete_manifest(self, digest: str) -> bool:
        """Have a manifest and its tags forgotten; False where the registry allows no deletion."""
        try:
            self.send("DELETE", self._path("manifests", digest), expected=(202,))
        except NotThere:
            return True
        except Refused:
            return False
        return True

    def tags(self) -> list[str]:
        """Every tag; none where the repository does not exist."""
        try:
            return _listed(self, self._path("tags", "list"), "tags")
        except NotThere:
            return []

    def _upload(self, blob: Blob, content: Iterator[bytes]) -> None:
        opened = self.send("POST", self._path("blobs", "uploads/"), body=b"", expected=(202,))
        location = opened.headers["Location"]
        separator = "&" if "?" in location else "?"
        self.send(
            "PUT",
            f"{location}{separator}digest={blob.digest}",
            headers={"Content-Type": "application/octet-stream"},
            body=_Sized(content, blob.size) if blob.size else b"",
            expected=(201,),
        )

    def _pieces(self, blob: Blob, start: int) -> Iterator[bytes]:
        received, failures = start, 0
        while received < blob.size:
            before = received
            try:
                for piece in self._range(blob, received):
                    received += len(piece)
                    yield piece
                if received < blob.size:
                    raise ConnectionError("it ended early")
            except _BROKEN as error:
                failures = failures + 1 if received == before else 1
                if failures == _ATTEMPTS:
                    raise error if isinstance(error, Unreachable) else self.unreachable(error) from error
                client.sleep(2.0**failures)

    def _range(self, blob: Blob, start: int) -> Iterator[bytes]:
        headers = {"Range": f"bytes={start}-"} if start else {}
        with self.send(
            "GET", self._path("blobs", blob.digest), headers=headers, stream=True, expected=(200, 206)
        ) as answer:
            skipped = 0 if answer.status_code == 206 else start  # a registry that knows no ranges begins anew
            for piece in answer.iter_content(CHUNK):
                fresh = piece[skipped:]
                skipped -= len(piece) - len(fresh)
                if fresh:
                    yield fresh

    def _path(self, kind: str, name: str) -> str:
        return f"/v2/{self.repository}/{kind}/{name}"


def repositories(registry: Connection) -> list[str]:
    """Every repository of a registry."""
    return _listed(registry, "/v2/_catalog", "repositories")


def _listed(registry: Connection, path: str, key: str) -> list[str]:
    """A list that comes in pages."""
    entries: list[str] = []
    url: str | None = f"{path}?n=500"
    while url:
        answer = registry.send("GET", url)
        entries += answer.json().get(key) or []
        url = answer.links.get("next", {}).get("url")
    return entries


def _media_type(answer: requests.Response) -> str:
    """The type that the document names; the header may have become more general on its way."""
    named = json.loads(answer.content).get("mediaType")
    return str(named or answer.headers.get("Content-Type", "").partition(";")[0])


class _Sized:
    """A body that comes in pieces and whose length is known: not every registry takes one of unknown length."""

    def __init__(self, pieces: Iterator[bytes], size: int) -> None:
        self._pieces, self._size = pieces, size

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces
