"""Names of container images: by tag and by digest, in parts, and in a mirror.

An image is named in two ways that must not be mixed up: `ImageName`, which a site writes and which may come to mean other bytes,
and `PinnedImage`, which hosts pull and run and which always means the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NewType

DOCKER_HUB = "docker.io"
_HUB_NAMES = (DOCKER_HUB, "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com")

ImageName = NewType("ImageName", str)  # as a site asks for it, mostly by tag: registry/repository:tag
PinnedImage = NewType("PinnedImage", str)  # by digest: registry/repository@sha256:...


@dataclass(frozen=True)
class ImageReference:
    """The name of an image in parts; `tag` or `digest` may be missing."""

    registry: str
    repository: str
    tag: str | None
    digest: str | None

    @property
    def name(self) -> str:
        """Registry and repository: what a digest is appended to."""
        return f"{self.registry}/{self.repository}"


def parse(reference: str) -> ImageReference:
    """The parts of a name as Docker reads it: no registry means Docker Hub, neither tag nor digest means `latest`."""
    name, _, digest = reference.partition("@")
    first, slash, rest = name.partition("/")
    if not slash or not ("." in first or ":" in first or first == "localhost"):
        first, rest = DOCKER_HUB, name
    registry = canonical(first)
    if registry == DOCKER_HUB and "/" not in rest:
        rest = f"library/{rest}"
    repository, colon, tag = rest.partition(":")
    return ImageReference(registry, repository, tag if colon else (None if digest else "latest"), digest or None)


def canonical(registry: str) -> str:
    """A registry's name; Docker Hub has several."""
    return DOCKER_HUB if registry.lower() in _HUB_NAMES else registry


def login_of(registry: str, logins: Mapping[str, str]) -> str | None:
    """The file with a registry's login, whichever of its names it was written under."""
    return next((file for name, file in logins.items() if canonical(name) == canonical(registry)), None)


def pinned(name: ImageName, digest: str) -> PinnedImage:
    """The image by its digest."""
    return PinnedImage(f"{parse(name).name}@{digest}")


def mirrored(mirror: str, name: ImageName, digest: str) -> PinnedImage:
    """The image by its digest in a mirror; an image whose registry is the mirror keeps its repository."""
    if parse(name).registry == mirror:
        return pinned(name, digest)
    return PinnedImage(f"{mirror}/{mirror_repository(name)}@{digest}")


def mirror_repository(name: ImageName) -> str:
    """The repository in a mirror that stands for an image's own: its registry's name comes first, so that no two collide."""
    image = parse(name)
    registry = re.sub(r"[^a-z0-9.]+", "-", image.registry.lower()).strip("-.")  # no colon may be in a path
    return f"{registry}/{image.repository}"
