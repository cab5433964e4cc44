"""Container image references, split, pinned and renamed for a mirror. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

DOCKER_HUB = "docker.io"


@dataclass(frozen=True)
class ImageReference:
    """An image name in parts; `tag` or `digest` may be missing."""

    registry: str
    repository: str
    tag: str | None
    digest: str | None

    @property
    def name(self) -> str:
        """Registry and repository: what a digest is appended to."""
        return f"{self.registry}/{self.repository}"


def parse(reference: str) -> ImageReference:
    """Split a reference as Docker does: no registry means Docker Hub, neither tag nor digest means `latest`."""
    name, _, digest = reference.partition("@")
    first, slash, rest = name.partition("/")
    if not slash or not ("." in first or ":" in first or first == "localhost"):
        first, rest = DOCKER_HUB, name if slash else f"library/{name}"
    repository, colon, tag = rest.partition(":")
    return ImageReference(first, repository, tag if colon else (None if digest else "latest"), digest or None)


def pinned(reference: str, digest: str) -> str:
    """The reference that names exactly these bytes: registry/repository@sha256:..."""
    return f"{parse(reference).name}@{digest}"


def mirrored(mirror: str, reference: str, digest: str) -> str:
    """The same bytes in a mirror; an image that lives there already keeps its name."""
    if parse(reference).registry == mirror:
        return pinned(reference, digest)
    return f"{mirror}/{mirror_repository(reference)}@{digest}"


def mirror_repository(reference: str) -> str:
    """The repository that stands for an image's in a mirror: its registry's name comes first, so that no two collide."""
    image = parse(reference)
    registry = re.sub(r"[^a-z0-9.]+", "-", image.registry.lower()).strip("-.")  # no colon may be in a path
    return f"{registry}/{image.repository}"
