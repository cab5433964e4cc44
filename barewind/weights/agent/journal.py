"""The journal beside a directory of weights, `<name>.parts`: which parts are there, and their SHA-256.

A job that was cut off goes on from it; a complete host knows from it what to tell the others without reading 134 GB again.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from pathlib import Path
from typing import BinaryIO

from barewind.weights.agent.job import Part

_VERSION = 1
_REMOVED = "-"
_DONE = "done"


class Journal:
    """One journal, a line for each part that came or went. May be used by several threads."""

    def __init__(self, path: Path, sums: str, parts: list[Part]) -> None:
        """`sums` is the set's SHA256SUMS: a journal of other files, or of other parts, counts for nothing."""
        self.path = path
        self._parts = len(parts)
        self._head = {
            "version": _VERSION,
            "files": _sha256(sums.encode()),
            "parts": _sha256(json.dumps([[part.file, part.start, part.end] for part in parts]).encode()),
        }
        self._file: BinaryIO | None = None
        self._lock = threading.Lock()

    def read(self) -> tuple[dict[int, str] | None, str]:
        """Part -> SHA-256, and the stamp of the directory that this was written of; None if it is not about these parts."""
        try:
            lines = self.path.read_text().split("\n")
            if json.loads(lines[0]) != self._head:
                return None, ""
        except (OSError, ValueError):
            return None, ""
        digests: dict[int, str] = {}
        stamp = ""
        for line in lines[1:-1]:  # what follows the last newline was not written to its end
            number, _, digest = line.partition(" ")
            if number == _DONE:
                stamp = digest
            elif digest == _REMOVED:
                digests.pop(int(number), None)
            elif len(digest) == 64 and int(number) < self._parts:
                digests[int(number)] = digest
        return digests, stamp

    def start(self, digests: dict[int, str], stamp: str | None) -> None:
        """Write the journal anew with what is known, and take up writing."""
        fresh = self.path.with_name(self.path.name + ".new")
        with fresh.open("wb") as file:
            file.write(json.dumps(self._head).encode() + b"\n")
            for number, digest in digests.items():
                file.write(f"{number} {digest}\n".encode())
            if stamp:
                file.write(f"{_DONE} {stamp}\n".encode())
            os.fsync(file.fileno())
        fresh.replace(self.path)
        self._file = self.path.open("ab", buffering=0)

    def record(self, part: Part, digest: str | None) -> None:
        """Write that a part is there, or (None) that it is not."""
        with self._lock:
            if self._file is not None:
                self._file.write(f"{part.number} {digest or _REMOVED}\n".encode())

    def stamp(self, verified: bytes) -> None:
        """Write that all of it holds for a directory with this `.verified`."""
        with self._lock:
            if self._file is not None:
                self._file.write(f"{_DONE} {stamp_of(verified)}\n".encode())
                os.fsync(self._file.fileno())

    def close(self) -> None:
        """Write nothing more."""
        with self._lock:
            if self._file is not None:
                self._file.close()
            self._file = None


def stamp_of(verified: bytes) -> str:
    """What stands in a journal for a directory with this `.verified`."""
    return _sha256(verified)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
