"""What one host is to have: sets of files, the hosts that want the same ones, and where the files come from."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MIB = 2**20
SMALLEST_PART = MIB
LARGEST_PART = 128 * MIB  # 134 GB then are 1000 requests: hubs count requests per address and minute
PARTS = 1024  # of a set, about; what is under way at the end is a fraction of a percent

PartId = tuple[str, int]  # key of the set, number of the part
FileId = tuple[str, str]  # key of the set, name of the file


@dataclass(frozen=True)
class Part:
    """Bytes `start` to `end` (exclusive) of a file; `number` counts the parts of its set."""

    key: str
    number: int
    file: str
    start: int
    end: int

    @property
    def size(self) -> int:
        """Bytes."""
        return self.end - self.start

    @property
    def id(self) -> PartId:
        """The part's name among the hosts."""
        return (self.key, self.number)

    @property
    def file_id(self) -> FileId:
        """The name of its file among the hosts."""
        return (self.key, self.file)


@dataclass(frozen=True)
class LockedFile:
    """A file as the lock says it is; `size` in bytes."""

    size: int
    sha256: str


@dataclass(frozen=True)
class FileSet:
    """The files of one manifest. `ring` names the hosts that want them, in an order all of them agree on."""

    key: str
    model: str
    revision: str
    directory: Path
    files: dict[str, LockedFile]
    ring: tuple[str, ...]
    path: Path | None = None  # a directory on this host that holds the files already

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(locked.size for locked in self.files.values())


@dataclass(frozen=True)
class Peer:
    """The address at which a host serves parts to the others."""

    name: str
    address: str
    port: int


@dataclass(frozen=True)
class Limits:
    """Times in seconds. Tests shorten them."""

    grace: float = 15.0  # until a host of this run that was not heard of counts as absent
    dead: float = 10.0  # of silence, until a host counts as gone
    stalled: float = 20.0  # without a byte more on a host that should pass parts on, until the one before it is asked
    patience: float = 120.0  # without a byte from anywhere, until the job has failed
    linger: float = 120.0  # a complete host waits for one that is not


@dataclass(frozen=True)
class Job:
    """A whole job. `rate_limit` in bytes per second for each direction; `expected` are the hosts known to take part."""

    id: str
    host: str
    peers: dict[str, Peer]
    sets: tuple[FileSet, ...]
    endpoint: str | None = None
    source: str = "hub"  # hub | mirror: what the endpoint is
    token: str | None = None
    rate_limit: int | None = None
    expected: frozenset[str] = frozenset()
    connections: int = 4  # parts at a time, from the endpoint and from other hosts each
    part_size: int | None = None  # bytes; by default it follows the size of a set
    limits: Limits = field(default_factory=Limits)

    @property
    def me(self) -> Peer | None:
        """The address at which this host serves; None when it keeps to itself."""
        return self.peers.get(self.host)

    @property
    def others(self) -> list[Peer]:
        """Every host but this one."""
        return [peer for name, peer in self.peers.items() if name != self.host]


def read_job(text: str) -> Job:
    """A job from its JSON."""
    data: dict[str, Any] = json.loads(text)
    sets = tuple(
        FileSet(
            key=entry["key"],
            model=entry["model"],
            revision=entry["revision"],
            directory=Path(entry["directory"]),
            files={name: LockedFile(**locked) for name, locked in entry["files"].items()},
            ring=tuple(entry.get("ring") or [data["host"]]),
            path=Path(entry["path"]) if entry.get("path") else None,
        )
        for entry in data["sets"]
    )
    peers = {peer["name"]: Peer(**peer) for peer in data.get("peers", [])}
    values = {name: data[name] for name in _PLAIN_VALUES if data.get(name) is not None}
    return Job(
        sets=sets,
        peers=peers,
        expected=frozenset(data.get("expected", [])),
        limits=Limits(**data.get("limits", {})),
        **values,
    )


_PLAIN_VALUES = ("id", "host", "endpoint", "source", "token", "rate_limit", "connections", "part_size")


def parts_of(file_set: FileSet, part_size: int | None = None) -> list[Part]:
    """The parts of a set, the same on every host, in the order in which they are best fetched.

    Large files advance side by side, so that their checksums can be worked out side by side while parts arrive.
    """
    size = part_size or _part_size(file_set.size)
    spans = sorted(
        (start / locked.size, name, start, min(locked.size, start + size))
        for name, locked in file_set.files.items()
        for start in range(0, locked.size, size)
    )
    return [Part(file_set.key, number, name, start, end) for number, (_, name, start, end) in enumerate(spans)]


def _part_size(total: int) -> int:
    size = SMALLEST_PART
    while size < LARGEST_PART and size * PARTS < total:
        size *= 2
    return size
