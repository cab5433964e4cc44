"""A pull: manifest and configuration come from the registry and are checked by digest; layers must be here already."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

from lab.light import store
from lab.light.errors import DockerError, not_known
from lab.light.store import Json

MANIFESTS = "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json"
_SECONDS = 30


def pull(reference: str) -> Iterator[tuple[str, str]]:
    """Pull NAME@sha256:...; (layer, its status) as it goes. DockerError where it cannot be had."""
    settings = store.daemon()
    name, at, digest = reference.partition("@")
    registry, _, repository = name.partition("/")
    if not at:
        raise not_known(f"a pull by tag ({reference})")
    if registry not in settings["insecure-registries"]:
        raise not_known(f"a registry that is none of insecure-registries ({registry})")
    manifest = _document(registry, repository, f"manifests/{digest}", digest)
    if "layers" not in manifest:
        raise not_known(f"what {reference} is ({manifest.get('mediaType')})")
    layers = [str(layer["digest"]) for layer in manifest["layers"]]
    for layer in layers:
        if not store.layer(layer).is_dir():
            raise DockerError(
                f"Error response from daemon: layer {layer[:19]} of {reference} is not on this host: a light host has those of "
                "the lab's stand-in engines; run `barewind lab up` if they were built anew"
            )
        yield layer.removeprefix("sha256:")[:12], "Already exists"
    identifier = str(manifest["config"]["digest"])
    config = _document(registry, repository, f"blobs/{identifier}", identifier)["config"]
    record = {"id": identifier, "name": name, "digest": digest, "layers": layers, "config": config}
    store.write(store.IMAGES / f"{hashlib.sha256(reference.encode()).hexdigest()}.json", record)


def _document(registry: str, repository: str, path: str, digest: str) -> Json:
    import http.client  # takes 5 MB, and a daemon waits all its life

    connection = http.client.HTTPConnection(registry, timeout=_SECONDS)
    try:
        connection.request("GET", f"/v2/{repository}/{path}", headers={"Accept": MANIFESTS})
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise DockerError(f'Error response from daemon: Get "http://{registry}/v2/": {error}') from None
    finally:
        connection.close()
    if answer.status == 404:
        raise DockerError(
            f"Error response from daemon: manifest for {registry}/{repository} not found: manifest unknown"
        )
    if answer.status != 200:
        raise DockerError(f"Error response from daemon: {registry} answered {answer.status}: {answer.reason}")
    if f"sha256:{hashlib.sha256(body).hexdigest()}" != digest:
        raise DockerError(f"Error response from daemon: {registry}: what came is not {digest}")
    document: Json = json.loads(body)
    return document
