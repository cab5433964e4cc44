"""How far a job is, for whoever asks: a small JSON file, and a line in the journal when something goes wrong."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

from barewind.remote.job import Job
from barewind.remote.swarm import Swarm

_EVERY = 1.0  # seconds between two writes
_NOTED = 60.0  # seconds that a note is in the file
_WINDOW = 20.0  # seconds that a rate is an average over


class Progress:
    """`copied` and `checked` in bytes of all sets, `rate` in bytes per second, `left` in seconds."""

    def __init__(self, job: Job, path: Path) -> None:
        self.job = job
        self.path = path
        self.phase = "copying"  # copying, checking, serving (complete, others are not), done, failed
        self.read = 0
        self._total = sum(one.size for one in job.sets)
        self._lock = threading.Lock()
        self._seen: deque[tuple[float, int]] = deque()
        self._said = self._note = self._error = ""
        self._noted = 0.0
        self._written = 0.0
        self._last: dict[str, Any] = {"total": self._total, "copied": 0, "checked": 0, "from_endpoint": 0}

    def note(self, text: str, *, minor: bool = False) -> None:
        """What a person may want to know, in the journal; the newest one is in the file too for a while, unless it is minor."""
        if text != self._said:
            self._said = text
            print(text, file=sys.stderr, flush=True)
        if not minor:
            self._note, self._noted = text, time.monotonic()

    def write(self, swarm: Swarm, read: int) -> None:
        """Tell how far it is; `read` are bytes whose checksum was worked out."""
        self.read = read
        now = time.monotonic()
        if now - self._written < _EVERY and not swarm.complete:
            return
        self._written = now
        with swarm.changed:
            whole = sum(swarm.sizes[file] for file in swarm.verified)
            copied, checked = swarm.bytes, self._total if swarm.complete else max(whole, min(read, swarm.bytes))
            from_endpoint, received, fetching = swarm.from_endpoint, swarm.received, bool(swarm.fetching)
        self._seen.append((now, received))
        while len(self._seen) > 2 and now - self._seen[0][0] > _WINDOW:
            self._seen.popleft()
        if self.phase in ("copying", "checking"):
            self.phase = "checking" if copied == self._total else "copying"
        rate = self._rate()
        self._last = {
            "total": self._total,
            "copied": copied,
            "checked": checked,
            "from_endpoint": from_endpoint,
            "asks_endpoint": fetching,
            "rate": round(rate),
            "left": round((self._total - copied) / rate) if rate and copied < self._total else None,
        }
        self._put()

    def count(self, amount: int) -> None:
        """So many bytes more of a job without transfer were checked."""
        with self._lock:
            self.read += amount

    def tick(self) -> None:
        """Tell how far a job without transfer is."""
        now = time.monotonic()
        if now - self._written < _EVERY:
            return
        self._written = now
        self._seen.append((now, self.read))
        rate = self._rate()
        left = round((self._total - self.read) / rate) if rate else None
        self._last |= {"copied": self._total, "checked": self.read, "rate": round(rate), "left": left}
        self._put()

    def end(self, phase: str, error: str = "") -> None:
        """The last word."""
        self.phase, self._error = phase, error
        self._put()

    def _rate(self) -> float:
        (begun, first), (now, last) = self._seen[0], self._seen[-1]
        return (last - first) / (now - begun) if now > begun else 0.0

    def _put(self) -> None:
        told = {"id": self.job.id, "host": self.job.host, "phase": self.phase, "at": time.time()} | self._last
        note = self._note if time.monotonic() - self._noted < _NOTED else ""
        fresh = self.path.with_name(self.path.name + ".new")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            fresh.write_text(json.dumps(told | {"note": note, "error": self._error}) + "\n")
            fresh.replace(self.path)
        except OSError as error:  # a full disk must not keep the reason from the journal
            print(f"{self.path}: {error}", file=sys.stderr, flush=True)
