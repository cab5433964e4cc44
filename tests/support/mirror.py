"""A site that pulls from the fleet's own registry, and an upstream whose tag moves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lab import topology
from lab.hosts import hosts
from lab.images import standin_engine
from lab.services import registry
from tests.support.commands import Site, data
from tests.support.lab import LAB, running_image
from tests.support.releases import IMAGE

MIRROR = "mirror1"
STORE = "/var/lib/docker-registry"
TAG = "moving"  # upstream's tag, which stands for another image now and then


@dataclass(frozen=True)
class MirroredSite(Site):
    """The lab with an image of upstream's moving tag and a lock file of its own."""

    lock_file: Path = Path()


def mirrored_site(folder: Path) -> MirroredSite:
    """The site; its lock file goes into a folder."""
    lock_file = folder / "barewind.lock.yaml"
    return MirroredSite(
        LAB.inventory, tuple(data(image=f"{IMAGE}:{TAG}", lock_file=str(lock_file))), lock_file=lock_file
    )


def publish(version: str) -> str:
    """Upstream builds another image under the same tag; its digest."""
    return standin_engine.variant(TAG, version=version, env=["STANDIN_ACCELERATORS=none"])


def published() -> str | None:
    """The digest that upstream's tag stands for."""
    return registry.digest_of(TAG, standin_engine.REPOSITORY)


def serves(name: str) -> str:
    """The digest that a host's engine runs; it must have come from the mirror."""
    image = running_image(name)
    assert image.startswith(f"{topology.find(MIRROR).address}:{topology.MIRROR_PORT}/")
    return image.partition("@")[2]


def remove_images(name: str) -> None:
    """Make a host as a new one: its engine stopped, no image of it there."""
    hosts.exec(
        name, "systemctl stop barewind-engine; docker image rm -f $(docker image ls -q) >/dev/null; docker image ls -q"
    )
