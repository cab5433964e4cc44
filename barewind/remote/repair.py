"""What to do about bytes that are wrong: find the parts to blame, and have only those again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from barewind.remote.job import Part
from barewind.remote.store import Store
from barewind.remote.swarm import File, Id, Swarm

_ATTEMPTS = 2  # parts from one host that are not what it said they are, until it is not asked for them again


class Repair:
    """Hold `swarm.changed` for all but `wrong`, which reads the disk for long."""

    def __init__(self, swarm: Swarm, stores: dict[str, Store], note: Callable[[str], None]) -> None:
        self._swarm, self._stores, self._note = swarm, stores, note
        self._wrong_parts: Counter[tuple[str, Id]] = Counter()
        self._found: dict[File, str] = {}  # SHA-256 of wrong files
        self._read_again: set[File] = set()

    def note(self, file: File, text: str) -> None:
        """Say something about a file."""
        self._note(f"weights {self._name(file)}: {file[1]} {text}")

    def wrong(self, file: File, digest: str) -> None:
        """A whole file is not what the lock says: first look whether the disk still holds what was received."""
        store = self._stores[file[0]]
        parts = self._swarm.of_file[file]
        on_disk = {part.id: store.digest(part) for part in parts}
        with self._swarm.changed:
            self._found[file] = digest
            lost = [
                part for part in parts if self._swarm.have.get(part.id, (0, on_disk[part.id]))[1] != on_disk[part.id]
            ]
            if lost:
                self._again(file, lost, "changed on the disk since they were received")
                return
            self._swarm.doubtful.add(file)
            self.with_help_of_others()
            self._swarm.wake()

    def with_help_of_others(self) -> None:
        """A host whose file is right as a whole shows which parts of ours are not."""
        for file in list(self._swarm.doubtful):
            parts = self._swarm.of_file[file]
            right = [part for part in parts if part.id in self._swarm.right]
            lost = [part for part in right if self._swarm.have.get(part.id, (0, ""))[1] != self._swarm.right[part.id]]
            if lost:
                self._again(file, lost, "are others on a host whose file is right")
            elif parts and len(right) == len(parts) and file not in self._read_again:
                self._read_again.add(file)  # the same parts and another whole: it was misread
                self._again(file, [], "is read once more")

    def distrust(self, host: str, part: Part, *, wrong: bool) -> None:
        """A host did not give a part, or (`wrong`) something else than it said."""
        if wrong:
            self._wrong_parts[host, part.id] += 1
            if self._wrong_parts[host, part.id] >= _ATTEMPTS:
                self._swarm.shunned.add((host, part.id))

    def throw_away(self, file: File) -> str:
        """A file stays wrong: nothing of it is kept. Why, as a whole sentence."""
        for part in self._swarm.of_file[file]:
            self._swarm.lose(part)
        wanted = self._stores[file[0]].set.files[file[1]]
        return (
            f"weights {self._name(file)}: {file[1]} from {self._swarm.job.endpoint or 'other hosts'} has SHA-256 "
            f"{self._found.get(file, '?')}, the lock says {wanted.sha256} ({wanted.size} bytes); fetched twice and wrong twice. "
            "It was thrown away; nothing is served from it. Check the hub, or what stands between, and run again"
        )

    def _again(self, file: File, lost: list[Part], why: str) -> None:
        if lost:
            self.note(file, f"has another SHA-256 than the lock says: {len(lost)} part(s) {why} and are fetched again")
        for part in lost:
            self._swarm.lose(part)
        self._swarm.doubtful.discard(file)
        self._swarm.hashed_again.add(file)
        self._swarm.wake()

    def _name(self, file: File) -> str:
        one = self._stores[file[0]].set
        return f"{one.model}@{one.revision}"
