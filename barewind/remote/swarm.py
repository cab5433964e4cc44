"""What a host knows while it copies: its own parts, those of the others, and what is under way. No decisions, no network."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from barewind.remote.job import Job, Part

Id = tuple[str, int]
File = tuple[str, str]  # key of the set, name of the file
VERSION = 1  # of what hosts tell each other; those of another one are left alone


@dataclass
class Other:
    """What is known of another host. Times are those of time.monotonic()."""

    heard: float | None = None  # when it last answered
    gained: float = 0.0  # when it last had more than before
    bytes: int = 0  # that it has received, of parts not yet whole too
    have: dict[Id, tuple[int, str]] = field(default_factory=dict)  # part -> round, SHA-256
    fetching: set[Id] = field(default_factory=set)  # from the endpoint, right now
    verified: set[File] = field(default_factory=set)
    known_right: set[File] = field(default_factory=set)
    able: bool = True
    complete: bool = False
    counts: Counter[str] = field(default_factory=Counter)  # key of a set -> parts that are there


class Swarm:
    """Shared by all threads of a host; hold `changed` for reading and writing.

    A file has a round: 0, then 1 when every part of round 0 was as it was sent and the whole was wrong all the same. Parts of
    an older round count for nothing until a newer one brings the same SHA-256.
    """

    def __init__(self, job: Job, parts: Iterable[Part], record: Callable[[Part, str | None], None]) -> None:
        self.job = job
        self.parts = {part.id: part for part in parts}
        self.of_set: dict[str, list[Part]] = {one.key: [] for one in job.sets}
        self.of_file: dict[File, list[Part]] = {}
        for part in self.parts.values():
            self.of_set[part.key].append(part)
        for part in sorted(self.parts.values(), key=lambda one: (one.key, one.file, one.start)):
            self.of_file.setdefault((part.key, part.file), []).append(part)
        for one in job.sets:
            for name in one.files:
                self.of_file.setdefault((one.key, name), [])
        self.changed = threading.Condition(threading.RLock())
        self.begun = time.monotonic()
        self.have: dict[Id, tuple[int, str]] = {}
        self.old: dict[Id, str] = {}  # what the disk holds of parts that do not count yet
        self.right: dict[Id, str] = {}  # SHA-256 of parts of files that are right as a whole on some host
        self.rounds: dict[File, int] = dict.fromkeys(self.of_file, 0)
        self.verified: set[File] = set()
        self.doubtful: set[File] = set()  # whole, wrong, and no part differs from what was sent
        self.hashed_again: set[File] = set()  # whose checksum has to begin anew
        self.taken: set[Id] = set()  # being fetched, from wherever
        self.fetching: set[Id] = set()  # of these, from the endpoint
        self.shunned: set[tuple[str, Id]] = set()  # hosts that sent something else than they said
        self.others = {peer.name: Other() for peer in job.others}
        self.able = job.endpoint is not None
        self.complete = False
        self.over = False  # no more work for anyone
        self.events: list[list[Any]] = []  # [key, number, round, SHA-256 or None]
        self.version = 0
        self.moved = self.begun  # when the last byte came
        self.bytes = 0  # in parts that are there
        self.sizes = {(one.key, name): wanted.size for one in job.sets for name, wanted in one.files.items()}
        self.received = 0  # bytes, from wherever
        self.from_endpoint = 0  # of these, from the endpoint
        self._record = record

    def wake(self) -> None:
        """Something that others should know has changed."""
        self.version += 1
        self.changed.notify_all()

    def gain(self, part: Part, digest: str) -> None:
        """A part is there and as it was sent."""
        file = (part.key, part.file)
        if part.id not in self.have:
            self.bytes += part.size
        self.have[part.id] = (self.rounds[file], digest)
        self.old.pop(part.id, None)
        self._record(part, digest)
        self.events.append([*part.id, self.rounds[file], digest])
        self.wake()

    def lose(self, part: Part) -> None:
        """A part is not what it was thought to be."""
        if self.have.pop(part.id, None) is not None:
            self.bytes -= part.size
            self._record(part, None)
            self.events.append([*part.id, 0, None])
            self.wake()

    def verify(self, file: File) -> None:
        """A whole file has the lock's SHA-256."""
        self.verified.add(file)
        self.doubtful.discard(file)
        self.wake()

    def next_round(self, file: File, number: int) -> None:
        """Parts of a file are fetched anew; those whose bytes turn out the same are not sent again."""
        self.rounds[file] = number
        if file in self.verified:  # what is right stays, and the others are to know that it counts in this round too
            for part in self.of_file[file]:
                self.gain(part, self.have[part.id][1])
            return
        for part in self.of_file[file]:
            if part.id in self.have:
                self.old[part.id] = self.have[part.id][1]
                self.lose(part)
        self.doubtful.discard(file)
        self.hashed_again.add(file)
        self.wake()

    def tell(self, since: int) -> dict[str, Any]:
        """What others want to know; `since` counts the events that they know already."""
        return {
            "version": VERSION,
            "state": self.version,
            "count": len(self.events),
            "events": self.events[since:],
            "fetching": [list(one) for one in self.fetching],
            "verified": [list(one) for one in self.verified],
            "able": self.able,
            "complete": self.complete,
            "bytes": self.received,
        }

    def hear(self, name: str, said: dict[str, Any], now: float) -> None:
        """Take in what another host tells."""
        other = self.others[name]
        other.heard = now
        if said.get("version") != VERSION:
            return
        other.fetching = {(key, number) for key, number in said["fetching"]}
        other.verified = {(key, file) for key, file in said["verified"]}
        other.able, other.complete = said["able"], said["complete"]
        if said["bytes"] != other.bytes or said["events"]:
            other.bytes, other.gained = said["bytes"], now
        for key, number, round_, digest in said["events"]:
            part = self.parts.get((key, number))
            if part is None:
                continue
            if digest is None:
                other.counts[key] -= other.have.pop(part.id, None) is not None
                continue
            other.counts[key] += part.id not in other.have
            other.have[part.id] = (round_, digest)
            file = (part.key, part.file)
            if round_ > self.rounds[file]:
                self.next_round(file, round_)
            self.take_over(part)
        self._learn_right(other)
        self.changed.notify_all()

    def forget(self, name: str) -> None:
        """A host has begun anew: what it told before holds no more."""
        heard = self.others[name].heard
        self.others[name] = Other(heard=heard)

    def offer(self, part: Part, name: str) -> str | None:
        """SHA-256 of a part on another host, if it has it in the round that counts and nobody knows better."""
        round_, digest = self.others[name].have.get(part.id, (-1, ""))
        if round_ != self.rounds[part.key, part.file] or (name, part.id) in self.shunned:
            return None
        return digest if self.right.get(part.id, digest) == digest else None

    def _learn_right(self, other: Other) -> None:
        """Parts of a file that is right as a whole are right."""
        for file in other.verified - other.known_right:
            if all(part.id in other.have for part in self.of_file.get(file, [])):
                self.right |= {part.id: other.have[part.id][1] for part in self.of_file.get(file, [])}
                other.known_right.add(file)

    def take_over(self, part: Part) -> None:
        """What the disk holds of a part counts when somebody has got the same."""
        mine = self.old.get(part.id)
        if (
            mine is not None
            and part.id not in self.taken
            and any(self.offer(part, name) == mine for name in self.others)
        ):
            self.gain(part, mine)
