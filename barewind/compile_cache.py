"""What an engine compiles at its start, kept per release and handed from host to host: compiling takes longer than loading.

Pure: plans in, directories, commands and jobs for the program that copies (barewind/remote/) out.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from barewind import swarm
from barewind.swarm import HostJob

if TYPE_CHECKING:  # plans themselves are made with what is here
    from barewind.plan import EnginePlan
    from barewind.spec import EngineSpec

_LENGTH = 12  # hex digits
_FILE = "cache.tar"


@dataclass(frozen=True)
class Cache:
    """The cache of one host. `key` is the same where what was compiled may be shared; `url` where its engine answers."""

    spec: EngineSpec
    image: str
    key: str
    url: str

    @property
    def directory(self) -> str:
        """Where the engine finds it."""
        return directory(self.spec.data_dir, self.key)


@dataclass(frozen=True)
class Packed:
    """A cache as one file on the host that has it; `size` in bytes."""

    size: int
    sha256: str


def key(digest: str, accelerator: str, argv: Sequence[str], env: Mapping[str, str]) -> str:
    """Names what may be shared: compiled by the same image for the same accelerator with the same arguments."""
    parts = {"digest": digest, "accelerator": accelerator, "argv": list(argv), "env": dict(env)}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:_LENGTH]


def directory(data_dir: str, key: str) -> str:
    """Where a host keeps the cache of that key."""
    return f"{data_dir}/cache/{key}"


def of(plan: EnginePlan) -> Cache | None:
    """The cache of a host; None while its image is not locked."""
    if plan.digest is None:
        return None
    command = plan.command
    name = key(plan.digest, plan.spec.accelerator, command.without("--host"), command.env)
    return Cache(plan.spec, plan.pinned_image, name, plan.url)


def pack(cache: Cache) -> str:
    """A command that packs the cache of a host whose engine serves, and prints size and SHA-256 of the file.

    An engine that answers has compiled all it needs; one that still writes makes tar fail, and nothing is packed.
    """
    place, seed = shlex.quote(cache.directory), shlex.quote(_seed(cache))
    return (
        f'[ -n "$(ls -A {place})" ] && curl -fsS -m 5 -o /dev/null {shlex.quote(f"{cache.url}/health")} && '
        f"rm -rf {seed} {seed}.parts && mkdir -p {seed} && tar -C {place} -cf {seed}/{_FILE} . && cd {seed} && "
        f"sha256sum {_FILE} > SHA256SUMS && stat -L -c '%n %s %.9Y' {_FILE} > .verified && "
        f"stat -c %s {_FILE} && cut -d' ' -f1 SHA256SUMS"
    )


def packed(output: str) -> Packed | None:
    """What `pack` printed."""
    words = output.split()
    if len(words) != 2 or not words[0].isdigit() or len(words[1]) != 64:
        return None
    return Packed(int(words[0]), words[1])


def jobs(giver: Cache, takers: list[Cache], file: Packed) -> dict[str, HostJob]:
    """The job of each host: the giver serves, the takers fetch from it and from each other; nobody asks a hub."""
    members = [giver.spec, *(one.spec for one in takers)]
    made = {}
    for one in (giver, *takers):
        wanted = {
            "key": f"cache-{giver.key}-{file.sha256[:_LENGTH]}",
            "model": "compile-cache",
            "revision": giver.key,
            "directory": _seed(one),
            "files": {_FILE: {"size": file.size, "sha256": file.sha256}},
            "ring": [spec.host for spec in members],
            "path": None,
        }
        made[one.spec.host] = swarm.job(one.spec, one.image, f"{one.spec.data_dir}/cache", [wanted], members)
    return made


def unpack(cache: Cache) -> str:
    """A command that makes a cache of the file that was fetched; whole or not at all."""
    place, seed = shlex.quote(cache.directory), shlex.quote(_seed(cache))
    return (
        f"rm -rf {place}.partial && mkdir {place}.partial && tar -C {place}.partial -xf {seed}/{_FILE} && "
        f"{{ rmdir {place} 2>/dev/null; true; }} && mv -T {place}.partial {place}; status=$?; {forget(cache)}; exit $status"
    )


def forget(cache: Cache) -> str:
    """A command that removes the packed file; a host that still sends it has it open."""
    seed = shlex.quote(_seed(cache))
    return f"rm -rf {seed} {seed}.parts {seed}.partial {shlex.quote(cache.directory)}.partial"


def _seed(cache: Cache) -> str:
    return f"{cache.spec.data_dir}/cache/seed-{cache.key}"
