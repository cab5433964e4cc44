"""What to do about bytes that are wrong: find the parts to blame, and have only those again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from barewind.weights.agent.job import FileId, Part, PartId
from barewind.weights.agent.state import State
from barewind.weights.agent.store import Store

_ATTEMPTS = 2  # parts from one host that are not what it announced, until it is not asked for them again


class Repair:
    """Hold `state.changed` for all but `blame_parts`, which reads the disk for long."""

    def __init__(self, state: State, stores: dict[str, Store], note: Callable[[str], None]) -> None:
        self._state, self._stores, self._note = state, stores, note
        self._wrong_parts: Counter[tuple[str, PartId]] = Counter()
        self._wrong_digests: dict[FileId, str] = {}  # SHA-256 of wrong files
        self._read_again: set[FileId] = set()

    def note(self, file: FileId, message: str) -> None:
        """Note something about a file for a person."""
        self._note(f"weights {self._name(file)}: {file[1]} {message}")

    def blame_parts(self, file: FileId, digest: str) -> None:
        """Find out why a whole file is not what the lock says: first, whether the disk still holds what was received."""
        store = self._stores[file[0]]
        parts = self._state.parts_of_file[file]
        on_disk = {part.id: store.digest(part) for part in parts}
        with self._state.changed:
            self._wrong_digests[file] = digest
            lost = [
                part for part in parts if self._state.have.get(part.id, (0, on_disk[part.id]))[1] != on_disk[part.id]
            ]
            if lost:
                self._fetch_again(file, lost, "changed on the disk since they were received")
                return
            self._state.doubtful.add(file)
            self.compare_with_others()
            self._state.notify()

    def compare_with_others(self) -> None:
        """Have the parts again that differ from those of a host whose file is right as a whole."""
        for file in list(self._state.doubtful):
            parts = self._state.parts_of_file[file]
            proven = [part for part in parts if part.id in self._state.proven]
            lost = [part for part in proven if self._state.have.get(part.id, (0, ""))[1] != self._state.proven[part.id]]
            if lost:
                self._fetch_again(file, lost, "are others on a host whose file is right")
            elif parts and len(proven) == len(parts) and file not in self._read_again:
                self._read_again.add(file)  # the same parts and another whole: it was misread
                self._fetch_again(file, [], "is read once more")

    def shun(self, host: str, part: Part) -> None:
        """Ask a host no more for a part, once it has sent something else than it announced too often."""
        self._wrong_parts[host, part.id] += 1
        if self._wrong_parts[host, part.id] >= _ATTEMPTS:
            self._state.shunned.add((host, part.id))

    def throw_away(self, file: FileId) -> str:
        """Keep nothing of a file that stays wrong; returns why, as a whole message."""
        for part in self._state.parts_of_file[file]:
            self._state.remove(part)
        locked = self._stores[file[0]].set.files[file[1]]
        return (
            f"weights {self._name(file)}: {file[1]} from {self._state.job.endpoint or 'other hosts'} has SHA-256 "
            f"{self._wrong_digests.get(file, '?')}, the lock says {locked.sha256} ({locked.size} bytes); fetched twice and "
            "wrong twice. It was thrown away; nothing is served from it. Check the hub, or what stands between, and run again"
        )

    def _fetch_again(self, file: FileId, lost: list[Part], why: str) -> None:
        if lost:
            self.note(file, f"has another SHA-256 than the lock says: {len(lost)} part(s) {why} and are fetched again")
        for part in lost:
            self._state.remove(part)
        self._state.doubtful.discard(file)
        self._state.to_rehash.add(file)
        self._state.notify()

    def _name(self, file: FileId) -> str:
        file_set = self._stores[file[0]].set
        return f"{file_set.model}@{file_set.revision}"
