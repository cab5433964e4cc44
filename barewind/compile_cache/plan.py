"""What an engine compiles at its start, kept per release and handed from host to host: compiling takes longer than loading.

What an engine has compiled is code that another host is to run, and an engine may be taken over by those who send it requests.
So the file that travels is made when a release has passed its gate and before the host gets requests; its SHA-256 goes into the
history, which no engine can write, and only that file is taken.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from barewind.plan.cache import KEY_LENGTH, directory, key, packed_directory
from barewind.plan.container import USER
from barewind.plan.engine import EnginePlan
from barewind.registry.reference import PinnedImage
from barewind.release.history import Event, served
from barewind.release.record import Record
from barewind.spec.keys import EngineSpec
from barewind.weights.plan import HostJob, Members, host_job

FILE = "cache.tar"
MOST = 32 * 2**30  # bytes that are packed; a cache is a few hundred MB

_DETAIL = re.compile(rf"compile cache [0-9a-f]{{{KEY_LENGTH}}}: (\d+) bytes, SHA-256 ([0-9a-f]{{64}})")


@dataclass(frozen=True)
class Cache:
    """The cache of one host. `key` is the same where what was compiled may be shared; `url` where its engine answers."""

    spec: EngineSpec
    image: PinnedImage
    key: str
    url: str

    @property
    def directory(self) -> str:
        """The directory in which the engine finds it."""
        return directory(self.spec.data_dir, self.key)

    @property
    def packed_directory(self) -> str:
        """The directory that keeps its packed file on the host that has packed it."""
        return packed_directory(self.spec.data_dir, self.key)

    @property
    def owner(self) -> int:
        """Uid and gid of the processes that write to it."""
        return USER if self.spec.container_hardening else 0


@dataclass(frozen=True)
class Packed:
    """A cache as one file on the host that has it; `size` in bytes."""

    size: int
    sha256: str


def cache_of(plan: EnginePlan) -> Cache | None:
    """The cache of a host; None while its image is not locked."""
    if plan.digest is None:
        return None
    command = plan.command
    name = key(plan.digest, plan.spec.accelerator, command.shared_argv, command.env)
    return Cache(plan.spec, plan.pinned_image, name, plan.url)


def detail(cache: Cache, file: Packed) -> str:
    """What the history says of a packed file."""
    return f"compile cache {cache.key}: {file.size} bytes, SHA-256 {file.sha256}"


def noted(events: Iterable[Event], key: str) -> Packed | None:
    """The file of a cache that a host's history tells of; None if it tells of none."""
    details = (event.detail or "" for event in reversed(list(events)) if event.event == "packed")
    match = next(filter(None, (_DETAIL.fullmatch(text) for text in details if f" {key}:" in text)), None)
    return None if match is None else Packed(int(match[1]), match[2])


def exposed(records: Mapping[str, Record], events: Iterable[Event], key: str) -> bool:
    """Whether an engine that has served requests could write to a cache: what is in it may be anybody's."""
    return any(release in records and f"/cache/{key}:" in records[release].unit for release in served(events))


def seed_job(cache: Cache, giver: Cache, takers: Iterable[Cache], file: Packed) -> HostJob:
    """The job of the giver or of a taker: the giver serves, takers fetch from it and from each other; nobody asks a hub."""
    members = Members((giver.spec, *(taker.spec for taker in takers)))
    file_set = {
        "key": f"cache-{giver.key}-{file.sha256[:KEY_LENGTH]}",
        "model": "compile-cache",
        "revision": giver.key,
        "directory": cache.packed_directory if cache is giver else seed_directory(cache),
        "files": {FILE: {"size": file.size, "sha256": file.sha256}},
        "ring": members.names,
        "path": None,
    }
    return host_job(cache.spec, cache.image, f"{cache.spec.data_dir}/cache", [file_set], members)


def seed_directory(cache: Cache) -> str:
    """The directory of the packed file on its way from host to host."""
    return f"{cache.spec.data_dir}/cache/seed-{cache.key}"
