"""The fleet's own registry: locked images in it by digest, those of the last releases kept, the rest forgotten."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from barewind import images, sizing
from barewind.errors import BarewindError
from barewind.lock import Lock, LockedImage
from barewind.meter import size
from barewind.mirror import copy, generations
from barewind.mirror.generations import Image
from barewind.registry.client import Connection, NotThere, RegistryError
from barewind.registry.lookup import repository
from barewind.registry.repository import Blob, Document, Repository, repositories
from barewind.site import Site
from barewind.spec import EngineSpec
from barewind.transfers import Transfers


@dataclass(frozen=True)
class Wanted:
    """An image that a mirror shall have: `digest` as hosts pull it, `upstream` as its own registry knows it."""

    reference: str
    digest: str
    upstream: str
    insecure_registries: tuple[str, ...] = ()

    @property
    def repository(self) -> str:
        """Its repository in the mirror."""
        return images.mirror_repository(self.reference)


@dataclass
class Mirror:
    """A registry of the fleet, and the images that its hosts pull from it."""

    registry: str
    plain: bool
    ca: str | None
    keep: int
    wanted: dict[str, Wanted] = field(default_factory=dict)

    def repository(self, name: str) -> Repository:
        """One of its repositories."""
        return Repository(self.registry, name, **self._connection)

    def repositories(self) -> list[str]:
        """All of its repositories; those that are wanted where it does not tell."""
        try:
            return repositories(Connection(self.registry, **self._connection))
        except NotThere:
            return sorted({one.repository for one in self.wanted.values()})

    @property
    def _connection(self) -> dict[str, Any]:
        return {
            "plain": self.plain,
            "ca": self.ca,
            "what": f"mirror {self.registry}",
            "hint": "check that it runs, that 'mirror' names it, that 'mirror_tls' is right, and that this machine's address is "
            "in 'mirror_clients'",
        }


def mirrors(site: Site, held: Lock) -> list[Mirror]:
    """The mirrors that a site's hosts pull from.

    Raises:
        BarewindError: no host has one, or an image is not locked.
    """
    found: dict[str, Mirror] = {}
    for spec in site.engines.values():
        if spec.mirror is None:
            continue
        mirror = found.setdefault(spec.mirror, Mirror(spec.mirror, not spec.mirror_tls, spec.mirror_ca, 1))
        mirror.keep = max(mirror.keep, spec.keep_releases)
        one = _wanted(spec, held, site.lock_file)
        if images.parse(one.reference).registry != spec.mirror:
            mirror.wanted[one.reference] = one
    if not found:
        raise BarewindError(
            "key 'mirror': no host has one; set it in group_data/all.py to the fleet's registry (host:port)."
        )
    return list(found.values())


def fill(
    mirror: Mirror,
    fleet: str,
    now: datetime,
    shown: Transfers,
    source: Callable[[Wanted], copy.Source] | None = None,
) -> None:
    """Have a mirror hold what its hosts need, tag it, and forget what is older than the releases to keep.

    + source: where an image comes from; default: its own registry

    Raises:
        RegistryError: upstream or the mirror fail; what is complete stays for the next time.
    """
    for one in mirror.wanted.values():
        target = mirror.repository(one.repository)
        sent = copy.copy_image((source or _Upstream)(one), target, one.digest, one.reference, shown)
        done = f"sent {size(sent)}" if sent else "is there"
        shown.say(f"{one.reference} -> {mirror.registry}/{one.repository}@{one.digest}: {done}")
    keep(mirror, fleet, now, shown)


def keep(mirror: Mirror, fleet: str, now: datetime, shown: Transfers) -> None:
    """Tag what a mirror shall keep for a fleet, and have it forget what no generation needs any more."""
    wanted = frozenset((one.repository, one.digest) for one in mirror.wanted.values())
    tagged = dict(_tagged(mirror))
    decision = generations.decide(tagged, wanted, fleet=fleet, keep=mirror.keep, now=now)
    for (name, digest), tag in decision.tags.items():
        target = mirror.repository(name)
        target.put_manifest(tag, target.manifest(digest))
    for name, digest in decision.forget:
        if not _forget(mirror.repository(name), digest, wanted | tagged.keys() - set(decision.forget)):
            shown.say(f"mirror {mirror.registry}: allows no deletion; {name}@{digest} stays")
            break
        shown.say(f"{mirror.registry}/{name}@{digest}: forgotten, older than {mirror.keep} releases")


def damaged(mirror: Mirror, shown: Transfers) -> list[str]:
    """Read everything that is wanted back from a mirror; what is wrong with it."""
    found = []
    for one in mirror.wanted.values():
        target = mirror.repository(one.repository)
        try:
            if not copy.whole(target, one.digest):
                found.append(
                    f"{target.what}: has {one.reference} not at all or not whole; run: barewind mirror INVENTORY"
                )
                continue
        except RegistryError as error:
            found.append(str(error))
        found += copy.damaged(target, one.digest, one.reference, shown)
    return found


def _wanted(spec: EngineSpec, held: Lock, lock_file: str) -> Wanted:
    reference = sizing.reference(spec)
    image = held.images.get(reference)
    if image is None:
        raise BarewindError(f"{lock_file}: does not hold image {reference}; run: barewind lock INVENTORY")
    return wanted(reference, image, tuple(spec.insecure_registries))


def wanted(reference: str, image: LockedImage, insecure_registries: tuple[str, ...] = ()) -> Wanted:
    """A locked image as a mirror shall have it: of several platforms only ours, by the digest that hosts pull."""
    return Wanted(reference, image.platform_digest or image.digest, image.digest, insecure_registries)


def _tagged(mirror: Mirror) -> Iterator[tuple[Image, frozenset[str]]]:
    for name in mirror.repositories():
        found = mirror.repository(name)
        tags: dict[Image, set[str]] = {}
        for tag in found.tags():
            digest = found.digest(tag)
            if digest is not None:
                tags.setdefault((name, digest), set()).add(tag)
        yield from ((image, frozenset(names)) for image, names in tags.items())


def _forget(target: Repository, digest: str, alive: frozenset[Image]) -> bool:
    """Delete a manifest, and those that only it names."""
    try:
        children = [child["digest"] for child in target.manifest(digest).children]
    except RegistryError:
        children = []  # gone already, or damaged: what it named is not known
    dead = [digest, *(child for child in children if (target.repository, child) not in alive)]
    return all(target.delete_manifest(one) for one in dead)


class _Upstream:
    """An image's own registry; it is asked only for what the mirror lacks."""

    def __init__(self, one: Wanted) -> None:
        self._repository = repository(one.reference, one.insecure_registries)
        self._one = one

    def read(self, blob: Blob) -> Iterator[bytes]:
        return self._repository.read(blob)

    def manifest(self, reference: str) -> Document:
        try:
            return self._repository.manifest(reference)
        except NotThere as error:
            raise RegistryError(
                f"image {self._one.reference}: its registry does not have {reference} any more, and the mirror never had it. "
                "Load it from a bundle, or take what the tag stands for now: barewind lock INVENTORY --update"
            ) from error
