"""What a name stands for in a registry: digest, size, and what the image's configuration tells."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from barewind import images
from barewind.lock import LockedImage
from barewind.registry.client import RegistryError
from barewind.registry.repository import Document, Repository

_UBUNTU = re.compile(r"\d\d\.\d\d")  # its own release: images built on it inherit the label
_VERSION_LABEL = "org.opencontainers.image.version"
_VERSIONS = ("VLLM_VERSION", "SGLANG_VERSION", "VLLM_BUILD_COMMIT")  # environment of the engines' images
_NO_VERSION = ("", "unknown", "dev", "latest", "local", "nightly")


def resolve(reference: str, *, insecure_registries: tuple[str, ...] = (), platform: str = "amd64") -> LockedImage:
    """Ask the registry for the digest behind a reference.

    Raises:
        RegistryError: the registry cannot be reached, refuses, or has no such image.
    """
    image = images.parse(reference)
    source = repository(reference, insecure_registries)
    asked = source.manifest(image.digest or image.tag or "latest")
    manifest = asked
    if asked.children:
        entry = _entry(asked, platform)
        if entry is None:
            raise RegistryError(f"image {reference}: has no {platform} variant; name an image that has one.")
        manifest = source.manifest(entry)
    config = source.document(manifest.data["config"]["digest"]) if "config" in manifest.data else {}
    environment = _environment(config)
    return LockedImage(
        digest=asked.digest,
        platform_digest=manifest.digest if manifest is not asked else None,
        size=sum(int(layer["size"]) for layer in manifest.data.get("layers", [])),
        created=_created(config),
        version=_version(config, environment),
        cuda=environment.get("CUDA_VERSION"),  # set by the vendors' base images
        rocm=environment.get("ROCM_VERSION"),
    )


def repository(reference: str, insecure_registries: tuple[str, ...] = ()) -> Repository:
    """The repository of an image."""
    image = images.parse(reference)
    plain = image.registry in insecure_registries
    return Repository(image.registry, image.repository, plain=plain, what=f"image {reference}")


def _entry(index: Document, platform: str) -> str | None:
    """The digest of a platform's manifest in an index."""
    for entry in index.children:
        found = entry.get("platform", {})
        if found.get("architecture") == platform and found.get("os", "linux") == "linux":
            return str(entry["digest"])
    return None


def _environment(config: dict[str, Any]) -> dict[str, str]:
    lines = (config.get("config") or {}).get("Env") or []
    return dict(line.split("=", 1) for line in lines if "=" in line)


def _created(config: dict[str, Any]) -> datetime | None:
    """When it was built; builds that can be reproduced say 1970 or nothing."""
    try:
        found = datetime.fromisoformat(str(config["created"]))
    except (KeyError, ValueError):
        return None
    return found.replace(microsecond=0) if found.year > 1970 else None


def _version(config: dict[str, Any], environment: dict[str, str]) -> str | None:
    """The engine's version: vLLM's images bear their tag as the standard label, and the commit in their environment."""
    labels = (config.get("config") or {}).get("Labels") or {}
    labelled = str(labels.get(_VERSION_LABEL, "")).rpartition(":")[2]
    found = "" if _UBUNTU.fullmatch(labelled) else labelled
    return next((one for one in (found, *map(environment.get, _VERSIONS)) if one and one not in _NO_VERSION), None)
