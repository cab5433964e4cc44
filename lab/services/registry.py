"""Client of the lab's registry (Docker Registry HTTP API v2): looks up, pushes while a layer is packed, derives images."""

import hashlib
import http.client
import json
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

from lab import topology
from lab.errors import LabError
from lab.machine import docker

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
VERSION_LABEL = "org.opencontainers.image.version"
FILE = "/etc/lab-registry.yml"  # its configuration, on `services`
TIMEOUT = 120  # seconds

Json = dict[str, Any]


@dataclass(frozen=True)
class Blob:
    """A blob in the registry. `size`: in bytes, as stored."""

    digest: str
    size: int


def healthy() -> bool:
    """Whether the registry answers."""
    try:
        return _request("GET", "/v2/", timeout=2)[0] == 200
    except (OSError, http.client.HTTPException):
        return False


def digest_of(tag: str, repository: str) -> str | None:
    """Digest of a tag's manifest, or None when there is no such tag."""
    status, headers, _ = _request("HEAD", f"/v2/{repository}/manifests/{tag}", headers={"Accept": MANIFEST})
    return headers.get("Docker-Content-Digest") if status == 200 else None


def complete(tag: str, repository: str) -> bool:
    """Whether a tag is there with all its blobs; a crash may leave a manifest without them."""
    if digest_of(tag, repository) is None:
        return False
    manifest = get_manifest(tag, repository)
    blobs = [manifest["config"], *manifest["layers"]]
    return all(has_blob(blob["digest"], repository) for blob in blobs)


def has_blob(digest: str, repository: str) -> bool:
    """Whether the registry has the blob."""
    return _request("HEAD", f"/v2/{repository}/blobs/{digest}")[0] == 200


def get_manifest(reference: str, repository: str) -> Json:
    """A manifest by tag or digest."""
    status, _, body = _request("GET", f"/v2/{repository}/manifests/{reference}", headers={"Accept": MANIFEST})
    if status != 200:
        raise LabError(f"the lab's registry has no {repository}:{reference} (status {status}); run `barewind lab up`")
    manifest: Json = json.loads(body)
    return manifest


@contextmanager
def open_blob(digest: str, repository: str) -> Iterator[IO[bytes]]:
    """A blob as a file that is read while it comes. LabError when the registry does not have it."""
    connection = http.client.HTTPConnection(topology.REGISTRY, timeout=TIMEOUT)
    try:
        connection.request("GET", f"/v2/{repository}/blobs/{digest}")
        response = connection.getresponse()
        if response.status != 200:
            raise LabError(f"the lab's registry has no blob {digest} (status {response.status}); run `barewind lab up`")
        yield response
    finally:
        connection.close()


def push_blob(chunks: Iterable[bytes], repository: str) -> Blob:
    """Upload a blob, of a length not yet known, while its chunks are made."""
    status, headers, _ = _request("POST", f"/v2/{repository}/blobs/uploads/", body=b"")
    if status != 202:
        raise LabError(
            f"the lab's registry refused an upload (status {status}); see `journalctl -u lab-registry` there"
        )
    sha, size = hashlib.sha256(), 0

    def counted() -> Iterator[bytes]:
        nonlocal size
        for chunk in chunks:
            sha.update(chunk)
            size += len(chunk)
            yield chunk

    chunked = {"Transfer-Encoding": "chunked", "Content-Type": "application/octet-stream"}
    status, headers, _ = _request("PATCH", headers["Location"], body=counted(), headers=chunked)
    digest = f"sha256:{sha.hexdigest()}"
    if status == 202:
        separator = "&" if "?" in headers["Location"] else "?"
        status, _, _ = _request("PUT", f"{headers['Location']}{separator}digest={digest}", body=b"")
    if status != 201:
        raise LabError(f"the lab's registry refused a blob (status {status}); see `journalctl -u lab-registry` there")
    return Blob(digest, size)


def mount_blob(digest: str, source: str, repository: str) -> None:
    """Have a repository hold a blob of another one, without a byte being sent; LabError when the registry refuses."""
    target = f"/v2/{repository}/blobs/uploads/?mount={digest}&from={source}"
    status, _, body = _request("POST", target, headers={"Content-Length": "0"})
    if status != 201:
        raise LabError(
            f"the lab's registry does not mount a blob of {source} in {repository}: {status} {body.decode()}"
        )


def push_manifest(config: Json, layers: list[Json], tag: str, repository: str) -> str:
    """Push an image's configuration and manifest; returns the manifest's digest."""
    text = json.dumps(config, sort_keys=True).encode()
    blob = push_blob([text], repository)
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, "digest": blob.digest, "size": blob.size},
        "layers": layers,
    }
    body = json.dumps(manifest, sort_keys=True).encode()
    status, _, answer = _request(
        "PUT", f"/v2/{repository}/manifests/{tag}", body=body, headers={"Content-Type": MANIFEST}
    )
    if status != 201:
        raise LabError(f"the lab's registry refused the manifest of {tag} (status {status}): {answer[:200]!r}")
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def derive(
    tag: str,
    *,
    repository: str,
    source: str = "nightly",
    entrypoint: list[str] | None = None,
    env: list[str] | None = None,
    labels: dict[str, str] | None = None,
) -> str:
    """Push another image on the layers of `source`, for tests of upgrades and rollbacks; returns its digest.

    Without further arguments it behaves as the source does; only its digest is new. With `entrypoint=["false"]` the engine
    ends at once, with `entrypoint=["sleep", "infinity"]` it never answers.
    """
    manifest = get_manifest(source, repository)
    _, _, body = _request("GET", f"/v2/{repository}/blobs/{manifest['config']['digest']}")
    config: Json = json.loads(body)
    variant = {"barewind.lab.variant": f"{tag}-{uuid.uuid4()}"}
    config["config"]["Labels"] = (config["config"].get("Labels") or {}) | variant | (labels or {})
    if entrypoint is not None:
        config["config"]["Entrypoint"] = entrypoint
    config["config"]["Env"] += env or []
    return push_manifest(config, manifest["layers"], tag, repository)


def delete(tag: str, repository: str) -> None:
    """Delete a tag's manifest, and with it every tag of the same digest."""
    digest = digest_of(tag, repository)
    if digest:
        _request("DELETE", f"/v2/{repository}/manifests/{digest}")


def collect_garbage() -> None:
    """Have the registry delete what no tag names any more; the cache would keep it for ever."""
    collect = ["docker-registry", "garbage-collect", "--delete-untagged", FILE]
    docker.docker("exec", topology.SERVICES_HOST.container, *collect, timeout=120)


def _request(
    method: str,
    target: str,
    *,
    body: bytes | Iterator[bytes] | None = None,
    headers: dict[str, str] | None = None,
    timeout: float = TIMEOUT,
) -> tuple[int, dict[str, str], bytes]:
    path = target.removeprefix(f"http://{topology.REGISTRY}")
    connection = http.client.HTTPConnection(topology.REGISTRY, timeout=timeout)
    try:
        connection.request(method, path, body=body, headers=headers or {}, encode_chunked=_is_chunked(headers))
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()
    finally:
        connection.close()


def _is_chunked(headers: dict[str, str] | None) -> bool:
    return (headers or {}).get("Transfer-Encoding") == "chunked"
