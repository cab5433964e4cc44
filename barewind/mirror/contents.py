"""The fleet's own registry: locked images in it by digest, those of the last releases kept, the rest forgotten."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from barewind.engines import image as engine_image
from barewind.errors import BarewindError
from barewind.lock.file import Lock
from barewind.mirror import generations
from barewind.mirror.generations import Image
from barewind.mirror.plan import FILL_UNIT
from barewind.progress.meter import size
from barewind.progress.transfers import Transfers
from barewind.registry import copy
from barewind.registry.client import Connection, NotThere, RegistryError
from barewind.registry.dialed import Dial
from barewind.registry.image import LockedImage
from barewind.registry.lookup import repository
from barewind.registry.reference import ImageName, login_of, mirror_repository, parse
from barewind.registry.repository import Blob, Document, Repository, repositories
from barewind.spec.keys import EngineSpec
from barewind.spec.site import Site


@dataclass(frozen=True)
class MirroredImage:
    """An image that a mirror shall have: `digest` as hosts pull it, `upstream` as its own registry knows it."""

    reference: ImageName
    digest: str
    upstream: str
    insecure_registries: tuple[str, ...] = ()
    logins: tuple[tuple[str, str], ...] = ()  # registry and file on this machine that holds user:password

    @property
    def repository(self) -> str:
        """The repository of the image in the mirror."""
        return mirror_repository(self.reference)


@dataclass
class Mirror:
    """A registry of the fleet, and the images that its hosts pull from it.

    `host` is the host of the group `mirrors` that runs it, if one does; `dial` opens connections to its writable registry.
    """

    registry: str
    plain: bool
    ca: str | None
    keep: int
    images: dict[str, MirroredImage] = field(default_factory=dict)
    login: str | None = None  # file on this machine that holds user:password
    host: str | None = None
    dial: Dial | None = None

    def repository(self, name: str) -> Repository:
        """A repository of the mirror by its name."""
        return Repository(self.registry, name, **self._connection)

    def repositories(self) -> list[str]:
        """Names of all repositories; those that hosts need where the mirror does not tell."""
        try:
            return repositories(Connection(self.registry, **self._connection))
        except NotThere:
            return sorted({image.repository for image in self.images.values()})

    @property
    def _connection(self) -> dict[str, Any]:
        if self.dial is not None:
            return {
                "plain": True,  # inside SSH
                "dial": self.dial,
                "subject": f"mirror {self.registry}",
                "hint": f"check the SSH connection to {self.host} and, there, journalctl -u {FILL_UNIT}",
            }
        return {
            "plain": self.plain,
            "ca": self.ca,
            "login": self.login,
            "subject": f"mirror {self.registry}",
            "hint": "check that it runs, that 'mirror' names it, that 'mirror_tls' is right, and that this machine's address is "
            "in 'mirror_clients'",
        }


def mirrors(site: Site, lock: Lock) -> list[Mirror]:
    """The mirrors that a site's hosts pull from.

    Raises:
        BarewindError: no host has one, or an image is not locked.
    """
    by_registry: dict[str, Mirror] = {}
    for spec in site.engines.values():
        if spec.mirror is None:
            continue
        if spec.mirror not in by_registry:
            host = _host_of(spec.mirror, site)
            by_registry[spec.mirror] = Mirror(spec.mirror, not spec.mirror_tls, spec.mirror_ca, 1, host=host)
        mirror = by_registry[spec.mirror]
        mirror.login = mirror.login or login_of(spec.mirror, spec.registry_logins)
        mirror.keep = max(mirror.keep, spec.keep_releases)
        image = _image_of(spec, lock, site.lock_file)
        if parse(image.reference).registry != spec.mirror:
            mirror.images[image.reference] = image
    if not by_registry:
        raise BarewindError(
            "key 'mirror': no host has one; set it in group_data/all.py to the fleet's registry (host:port)."
        )
    return list(by_registry.values())


def fill(
    mirror: Mirror,
    fleet: str,
    now: datetime,
    shown: Transfers,
    source: Callable[[MirroredImage], copy.Source] | None = None,
) -> None:
    """Have a mirror hold what its hosts need, tag it, and forget what is older than the releases to keep.

    + source: where an image comes from; default: its own registry

    Raises:
        RegistryError: upstream or the mirror fail; what is complete stays for the next time.
    """
    for image in mirror.images.values():
        target = mirror.repository(image.repository)
        sent = copy.copy_image((source or _Upstream)(image), target, image.digest, image.reference, shown)
        outcome = f"sent {size(sent)}" if sent else "is there"
        shown.say(f"{image.reference} -> {mirror.registry}/{image.repository}@{image.digest}: {outcome}")
    keep(mirror, fleet, now, shown)


def keep(mirror: Mirror, fleet: str, now: datetime, shown: Transfers) -> None:
    """Tag what a mirror shall keep for a fleet, and have it forget what no generation needs any more."""
    wanted = frozenset((image.repository, image.digest) for image in mirror.images.values())
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
    """Read back everything that a mirror shall hold; returns a message for each thing that is wrong with it."""
    messages = []
    for image in mirror.images.values():
        target = mirror.repository(image.repository)
        try:
            if not copy.is_complete(target, image.digest):
                messages.append(
                    f"{target.subject}: has {image.reference} not at all or not whole; run: barewind mirror INVENTORY"
                )
                continue
        except RegistryError as error:
            messages.append(str(error))
        messages += copy.damaged(target, image.digest, image.reference, shown)
    return messages


def _host_of(registry: str, site: Site) -> str | None:
    """The host of the group `mirrors` that runs a registry: the one with its address, its name, or what the name stands for."""
    wanted = urlsplit(f"//{registry}")
    ours = {name: spec for name, spec in site.mirrors.items() if wanted.port in (spec.mirror_port, None)}
    for name, spec in ours.items():
        if wanted.hostname in (spec.address, name.lower()):
            return name
    try:
        addresses = {entry[4][0] for entry in socket.getaddrinfo(wanted.hostname, wanted.port)} if ours else set()
    except OSError:
        return None
    return next((name for name, spec in ours.items() if spec.address in addresses), None)


def _image_of(spec: EngineSpec, lock: Lock, lock_file: str) -> MirroredImage:
    reference = engine_image.reference(spec)
    image = lock.images.get(reference)
    if image is None:
        raise BarewindError(f"{lock_file}: does not hold image {reference}; run: barewind lock INVENTORY")
    logins = tuple(sorted(spec.registry_logins.items()))
    return replace(mirrored_image(reference, image, tuple(spec.insecure_registries)), logins=logins)


def mirrored_image(
    reference: ImageName, image: LockedImage, insecure_registries: tuple[str, ...] = ()
) -> MirroredImage:
    """A locked image as a mirror shall have it: of several platforms only ours, by the digest that hosts pull."""
    return MirroredImage(reference, image.platform_digest or image.digest, image.digest, insecure_registries)


def _tagged(mirror: Mirror) -> Iterator[tuple[Image, frozenset[str]]]:
    for name in mirror.repositories():
        target = mirror.repository(name)
        tags: dict[Image, set[str]] = {}
        for tag in target.tags():
            digest = target.digest(tag)
            if digest is not None:
                tags.setdefault((name, digest), set()).add(tag)
        yield from ((image, frozenset(names)) for image, names in tags.items())


def _forget(target: Repository, digest: str, alive: frozenset[Image]) -> bool:
    """Delete a manifest, and those that only it names."""
    try:
        children = [child["digest"] for child in target.manifest(digest).children]
    except RegistryError:
        children = []  # gone already, or damaged: its children are not known
    dead = [digest, *(child for child in children if (target.repository, child) not in alive)]
    return all(target.delete_manifest(manifest) for manifest in dead)


class _Upstream:
    """An image's own registry; it is asked only for what the mirror lacks."""

    def __init__(self, image: MirroredImage) -> None:
        self._repository = repository(image.reference, image.insecure_registries, dict(image.logins))
        self._image = image

    def read(self, blob: Blob) -> Iterator[bytes]:
        return self._repository.read(blob)

    def manifest(self, reference: str) -> Document:
        try:
            return self._repository.manifest(reference)
        except NotThere as error:
            raise RegistryError(
                f"image {self._image.reference}: its registry does not have {reference} any more, and the mirror never had it. "
                "Load it from a bundle, or take what the tag stands for now: barewind lock INVENTORY --update"
            ) from error
