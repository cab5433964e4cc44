"""Whole files against the lock's SHA-256, while their parts still arrive."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from barewind.remote.job import Part, Wanted
from barewind.remote.store import Store
from barewind.remote.swarm import File, Swarm


@dataclass
class _Progress:
    parts: list[Part]
    wanted: Wanted
    done: int = 0  # parts that are in the checksum
    busy: bool = False
    digest: Any = field(default_factory=hashlib.sha256)


class Checker:
    """Reads parts back in the order of their file, as soon as they are there. `found(file, digest)` says the result."""

    def __init__(self, swarm: Swarm, stores: dict[str, Store], found: Callable[[File, str], None]) -> None:
        self._swarm, self._stores, self._found = swarm, stores, found
        self._files = {
            (one.key, name): _Progress(swarm.of_file[one.key, name], wanted)
            for one in swarm.job.sets
            for name, wanted in one.files.items()
            if (one.key, name) not in swarm.verified
        }
        self.read = 0  # bytes

    def start(self, threads: int) -> None:
        """Check from now on, in threads of its own."""
        for number in range(threads):
            threading.Thread(target=self._work, name=f"check{number}", daemon=True).start()

    def _work(self) -> None:
        while not self._swarm.over:
            with self._swarm.changed:
                file = self._next()
                if file is None:
                    self._swarm.changed.wait(1)
                    continue
                progress = self._files[file]
                progress.busy = True
                part = progress.parts[progress.done] if progress.done < len(progress.parts) else None
            if part is not None:
                for chunk in self._stores[part.key].chunks(part):
                    progress.digest.update(chunk)
                    self.read += len(chunk)
            with self._swarm.changed:
                if file in self._swarm.hashed_again:
                    self._again(file)
                    continue
                progress.done += part is not None
                progress.busy = whole = progress.done == len(progress.parts)
            if whole:
                self._found(file, progress.digest.hexdigest())
                progress.busy = False

    def _next(self) -> File | None:
        """A file whose next part is there. Call while holding `swarm.changed`."""
        swarm = self._swarm
        for file in list(swarm.hashed_again):
            if file in self._files and not self._files[file].busy:
                self._again(file)
        for file, progress in self._files.items():
            if progress.busy or file in swarm.verified or file in swarm.doubtful:
                continue
            if progress.done == len(progress.parts) or progress.parts[progress.done].id in swarm.have:
                return file
        return None

    def _again(self, file: File) -> None:
        self._swarm.hashed_again.discard(file)
        self.read -= sum(part.size for part in self._files[file].parts[: self._files[file].done])
        self._files[file] = _Progress(self._files[file].parts, self._files[file].wanted)
