"""Whole files against the lock's SHA-256, while their parts still arrive."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from barewind.weights.agent.job import FileId, Part
from barewind.weights.agent.state import State
from barewind.weights.agent.store import Store


@dataclass
class _FileHash:
    parts: list[Part]
    done: int = 0  # parts that are in the checksum
    busy: bool = False
    digest: Any = field(default_factory=hashlib.sha256)


class Checker:
    """Reads parts back in the order of their file, as soon as they are there. Calls `hashed(file, digest)` for whole files."""

    def __init__(self, state: State, stores: dict[str, Store], hashed: Callable[[FileId, str], None]) -> None:
        self._state, self._stores, self._hashed = state, stores, hashed
        self._files = {
            file: _FileHash(parts) for file, parts in state.parts_of_file.items() if file not in state.verified
        }
        self.read_bytes = 0

    def start(self, threads: int) -> None:
        """Check from now on, in threads of its own."""
        for number in range(threads):
            threading.Thread(target=self._work, name=f"check{number}", daemon=True).start()

    def _work(self) -> None:
        while not self._state.ended:
            with self._state.changed:
                file = self._next()
                if file is None:
                    self._state.changed.wait(1)
                    continue
                hashing = self._files[file]
                hashing.busy = True
                part = hashing.parts[hashing.done] if hashing.done < len(hashing.parts) else None
            if part is not None:
                for chunk in self._stores[part.key].chunks(part):
                    hashing.digest.update(chunk)
                    self.read_bytes += len(chunk)
            with self._state.changed:
                if file in self._state.to_rehash:
                    self._begin_anew(file)
                    continue
                hashing.done += part is not None
                hashing.busy = whole = hashing.done == len(hashing.parts)
            if whole:
                self._hashed(file, hashing.digest.hexdigest())
                hashing.busy = False

    def _next(self) -> FileId | None:
        """A file whose next part is there. Call while holding `state.changed`."""
        state = self._state
        for file in list(state.to_rehash):
            if file in self._files and not self._files[file].busy:
                self._begin_anew(file)
        for file, hashing in self._files.items():
            if hashing.busy or file in state.verified or file in state.doubtful:
                continue
            if hashing.done == len(hashing.parts) or hashing.parts[hashing.done].id in state.have:
                return file
        return None

    def _begin_anew(self, file: FileId) -> None:
        self._state.to_rehash.discard(file)
        hashing = self._files[file]
        self.read_bytes -= sum(part.size for part in hashing.parts[: hashing.done])
        self._files[file] = _FileHash(hashing.parts)
