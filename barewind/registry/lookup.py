"""The digest behind an image's name in a registry, with its size and what its configuration tells."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

from barewind.registry.client import RegistryError
from barewind.registry.image import LockedImage
from barewind.registry.reference import login_of, parse
from barewind.registry.repository import Document, Repository

NO_LOGINS: Mapping[str, str] = MappingProxyType({})
_UBUNTU = re.compile(r"\d\d\.\d\d")  # its own release: images built on it inherit the label
_VERSION_LABEL = "org.opencontainers.image.version"
_NO_VERSION = ("", "unknown", "dev", "latest", "local", "nightly")


def resolve(
    reference: str,
    *,
    insecure_registries: tuple[str, ...] = (),
    logins: Mapping[str, str] = NO_LOGINS,
    platform: str = "amd64",
    version_variables: tuple[str, ...] = (),
) -> LockedImage:
    """Ask the registry for the digest behind a reference.

    + logins: registry -> file on this machine that holds user:password
    + version_variables: of the image's environment, naming the version of what is in it where no label does

    Raises:
        RegistryError: the registry cannot be reached, refuses, or has no such image.
    """
    image = parse(reference)
    source = repository(reference, insecure_registries, logins)
    named = source.manifest(image.digest or image.tag or "latest")
    manifest = named
    if named.children:
        entry = _entry(named, platform) or _untold(source, named, platform)
        if entry is None:
            raise RegistryError(f"image {reference}: has no {platform} variant; name an image that has one.")
        manifest = source.manifest(entry)
    config = _configuration(source, manifest)
    environment = _environment(config)
    return LockedImage(
        digest=named.digest,
        platform_digest=manifest.digest if manifest is not named else None,
        size=sum(int(layer["size"]) for layer in manifest.data.get("layers", [])),
        created=_created(config),
        version=_version(config, environment, version_variables),
        cuda=environment.get("CUDA_VERSION"),  # set by the vendors' base images
        rocm=environment.get("ROCM_VERSION"),
        zstd=any(str(layer.get("mediaType", "")).endswith("zstd") for layer in manifest.data.get("layers", [])),
    )


def repository(
    reference: str, insecure_registries: tuple[str, ...] = (), logins: Mapping[str, str] = NO_LOGINS
) -> Repository:
    """The repository of an image; `logins`: registry -> file on this machine that holds user:password."""
    image = parse(reference)
    plain = image.registry in insecure_registries
    login = login_of(image.registry, logins)
    return Repository(image.registry, image.repository, plain=plain, subject=f"image {reference}", login=login)


def _entry(index: Document, platform: str) -> str | None:
    """The digest of a platform's manifest in an index."""
    for entry in index.children:
        offered = entry.get("platform")
        if (
            isinstance(offered, dict)
            and offered.get("architecture") == platform
            and offered.get("os", "linux") == "linux"
        ):
            return str(entry["digest"])
    return None


def _untold(source: Repository, index: Document, platform: str) -> str | None:
    """The digest of a platform's manifest in an index whose entries do not name their platforms: configurations do."""
    for entry in index.children:
        kind = (entry.get("annotations") or {}).get("vnd.docker.reference.type")
        if not entry.get("platform") and kind != "attestation-manifest":
            config = _configuration(source, source.manifest(str(entry["digest"])))
            if (config.get("architecture"), config.get("os", "linux")) == (platform, "linux"):
                return str(entry["digest"])
    return None


def _configuration(source: Repository, manifest: Document) -> dict[str, Any]:
    return source.document(manifest.data["config"]["digest"]) if "config" in manifest.data else {}


def _environment(config: dict[str, Any]) -> dict[str, str]:
    lines = (config.get("config") or {}).get("Env") or []
    return dict(line.split("=", 1) for line in lines if "=" in line)


def _created(config: dict[str, Any]) -> datetime | None:
    """When the image was built; builds that can be reproduced say 1970 or nothing."""
    try:
        created = datetime.fromisoformat(str(config["created"]))
    except (KeyError, ValueError):
        return None
    return created.replace(microsecond=0) if created.year > 1970 else None


def _version(config: dict[str, Any], environment: dict[str, str], variables: tuple[str, ...]) -> str | None:
    """The version by the standard label, else by the environment."""
    labels = (config.get("config") or {}).get("Labels") or {}
    labelled = str(labels.get(_VERSION_LABEL, "")).rpartition(":")[2]
    versions = ["" if _UBUNTU.fullmatch(labelled) else labelled, *map(environment.get, variables)]
    return next((version for version in versions if version and version not in _NO_VERSION), None)
