"""What a host knows while it copies: its own parts, those of the others, and what is under way. No decisions, no network."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from barewind.weights.agent.job import FileId, Job, Part, PartId
from barewind.weights.agent.others import Link, OtherHost
from barewind.weights.agent.rows import Row, bit_numbers


class State:
    """Shared by all threads of a host; hold `changed` for reading and writing.

    A file has a round: 0, then 1 when every part of round 0 was as it was sent and the whole was wrong all the same. Parts of
    an older round count for nothing until a newer one brings the same SHA-256.
    """

    def __init__(
        self, job: Job, parts: Iterable[Part], record: Callable[[Part, str | None], None], *, now: float | None = None
    ) -> None:
        """`record` is called for each part that is there (with its SHA-256) or is not any more (with None)."""
        self.job = job
        self.changed = threading.Condition(threading.RLock())
        self.told = threading.Condition(self.changed._lock)  # type: ignore[attr-defined]  # for those who wait for news
        self._record = record
        self._index(job, parts)
        # Time, of time.monotonic()
        self.started_at = time.monotonic() if now is None else now
        self.progress_at = self.started_at  # when the last byte came
        # Parts
        self.have: dict[PartId, tuple[int, str]] = {}  # part -> round, SHA-256
        self.on_disk: dict[PartId, str] = {}  # SHA-256 of what the disk holds of parts that do not count yet
        self.proven: dict[PartId, str] = {}  # SHA-256 of parts of files that are right as a whole on some host
        self.claimed: set[PartId] = set()  # being fetched, from wherever
        self.fetching: set[PartId] = set()  # of these, from the endpoint
        # Files
        self.rounds: dict[FileId, int] = dict.fromkeys(self.parts_of_file, 0)
        self.verified: set[FileId] = set()
        self.doubtful: set[FileId] = set()  # whole, wrong, and no part differs from what was sent
        self.to_rehash: set[FileId] = set()  # whose checksum has to begin anew
        # Hosts
        self.others = {peer.name: OtherHost() for peer in job.others}
        self.shunned: set[tuple[str, PartId]] = set()  # hosts that sent something else than they announced
        self.can_ask = job.endpoint is not None
        self.complete = False
        self.ended = False  # no more work for any thread
        self.following: dict[int, str | None] = {}  # number of a link -> the host that is followed over it
        # News for the others
        self.run = int(time.time() * 1000)  # milliseconds
        self.events: list[list[Any]] = []  # [key, number, round, SHA-256 or None]
        self.bits = dict.fromkeys(self.parts_of_set, 0)  # key -> parts that are there
        self.row: Row | None = None  # what was told last of this host
        self.row_at = 0.0  # when
        self.row_changed = 0  # in which version
        self.version = 0
        self.recent: dict[str, None] = {}  # other hosts of which there are news, the newest last
        # Bytes
        self.copied = 0  # in parts that are there
        self.received = 0  # from wherever
        self.received_from_endpoint = 0

    def _index(self, job: Job, parts: Iterable[Part]) -> None:
        self.parts = {part.id: part for part in parts}
        self.parts_of_set: dict[str, list[Part]] = {file_set.key: [] for file_set in job.sets}
        self.parts_of_file: dict[FileId, list[Part]] = {}
        for part in self.parts.values():
            self.parts_of_set[part.key].append(part)
        for part in sorted(self.parts.values(), key=lambda part: (part.key, part.file, part.start)):
            self.parts_of_file.setdefault(part.file_id, []).append(part)
        self.sizes: dict[FileId, int] = {}
        self.file_numbers: dict[FileId, int] = {}
        for file_set in job.sets:
            for number, (name, locked) in enumerate(sorted(file_set.files.items())):
                self.sizes[file_set.key, name] = locked.size
                self.file_numbers[file_set.key, name] = number
                self.parts_of_file.setdefault((file_set.key, name), [])
        # key -> the ring: places of its hosts, and those before this host, the nearest one first
        self.places = {one.key: {name: place for place, name in enumerate(one.ring)} for one in job.sets}
        self.before = {one.key: _before(one.ring, job.host) for one in job.sets}
        self.file_ids = {(key, number): (key, name) for (key, name), number in self.file_numbers.items()}
        self.bits_of_file = {
            file: sum(1 << part.number for part in parts_) for file, parts_ in self.parts_of_file.items()
        }

    def notify(self) -> None:
        """Wake up threads and hosts that wait for news."""
        self.version += 1
        self.changed.notify_all()
        self.told.notify_all()

    # --- This host's parts and files ---

    def add(self, part: Part, digest: str) -> None:
        """A part is there and as it was sent."""
        round_ = self.rounds[part.file_id]
        if part.id not in self.have:
            self.copied += part.size
        self.have[part.id] = (round_, digest)
        self.bits[part.key] |= 1 << part.number
        self.on_disk.pop(part.id, None)
        self._record(part, digest)
        self.events.append([*part.id, round_, digest])
        self.notify()

    def remove(self, part: Part) -> None:
        """A part is not what it was thought to be."""
        if self.have.pop(part.id, None) is not None:
            self.copied -= part.size
            self.bits[part.key] &= ~(1 << part.number)
            self._record(part, None)
            self.events.append([*part.id, 0, None])
            self.notify()

    def mark_verified(self, file: FileId) -> None:
        """A whole file has the lock's SHA-256."""
        self.verified.add(file)
        self.doubtful.discard(file)
        self.notify()

    def begin_round(self, file: FileId, number: int) -> None:
        """Parts of a file are fetched anew; those whose bytes turn out the same are not sent again."""
        self.rounds[file] = number
        if file in self.verified:  # what is right stays, and the others are to know that it counts in this round too
            for part in self.parts_of_file[file]:
                self.add(part, self.have[part.id][1])
            return
        for part in self.parts_of_file[file]:
            if part.id in self.have:
                self.on_disk[part.id] = self.have[part.id][1]
                self.remove(part)
        self.doubtful.discard(file)
        self.to_rehash.add(file)
        self.notify()

    def keep_if_confirmed(self, part: Part) -> None:
        """Count what the disk holds of a part when another host has the same."""
        mine = self.on_disk.get(part.id)
        if (
            mine is not None
            and part.id not in self.claimed
            and any(self.offer(part, name) == mine for name in self.followed())
        ):
            self.add(part, mine)

    # --- Other hosts ---

    def followed(self) -> list[str]:
        """The hosts whose parts are known one by one."""
        return [name for name in self.following.values() if name is not None]

    def follow(self, link: int, name: str | None) -> None:
        """Follow another host than before over a link, or none."""
        before = self.following.get(link)
        if before == name:
            return
        if before is not None:
            self._remember_useless(self.others[before])
            self.others[before].link = None
        self.following[link] = name
        if name is not None:
            self.others[name].link = Link()

    def forget(self, name: str) -> None:
        """A host that is followed has begun anew: what it told before does not hold any more."""
        self.others[name].link = Link()

    def offer(self, part: Part, name: str) -> str | None:
        """SHA-256 of a part on a host that is followed, if it has it in the round that counts and nobody knows better."""
        link = self.others[name].link
        round_, digest = link.have.get(part.id, (-1, "")) if link else (-1, "")
        if round_ != self.rounds[part.file_id] or (name, part.id) in self.shunned:
            return None
        return digest if self.proven.get(part.id, digest) == digest else None

    def offered(self, name: str, key: str) -> int:
        """Parts that a host which is not followed has, as far as its row tells."""
        other = self.others[name]
        bits = other.row.have.get(key, 0) if other.row else 0
        if not bits:
            return 0
        told = {(row_key, number): round_ for row_key, number, round_ in other.row.rounds} if other.row else {}
        for file, round_ in self.rounds.items() if told or any(self.rounds.values()) else ():
            if file[0] == key and told.get((key, self.file_numbers[file]), 0) != round_:
                bits &= ~self.bits_of_file[file]
        for shunned, (part_key, number) in self.shunned:
            if shunned == name and part_key == key:
                bits &= ~(1 << number)
        return bits & ~(other.useless or {}).get(key, 0)

    def verified_on(self, other: OtherHost, file: FileId) -> bool:
        """Whether a file is right as a whole on another host."""
        return other.row is not None and bool(other.row.verified.get(file[0], 0) >> self.file_numbers[file] & 1)

    def verified_elsewhere(self, file: FileId) -> bool:
        """Whether a file is right as a whole on any other host."""
        return any(self.verified_on(other, file) for other in self.others.values())

    def _remember_useless(self, other: OtherHost) -> None:
        """So that a host is not followed again for parts that turned out to be of no use."""
        if other.link is None or other.row is None:
            return
        other.useless = {}
        for key, bits in other.row.have.items():
            for number in bit_numbers(bits & ~self.bits.get(key, 0)):
                part = self.parts.get((key, number))
                if part is not None and part.id in other.link.have:
                    name = next(name for name, one in self.others.items() if one is other)
                    if self.offer(part, name) is None:
                        other.useless[key] = other.useless.get(key, 0) | 1 << number


def _before(ring: tuple[str, ...], host: str) -> tuple[str, ...]:
    place = ring.index(host)
    return (*ring[:place][::-1], *ring[place + 1 :][::-1])
