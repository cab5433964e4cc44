"""How far a job is: a small JSON file for whoever follows it, and a line in the journal when something goes wrong."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

from barewind.weights.agent.job import Job
from barewind.weights.agent.state import State

_WRITE_INTERVAL = 1.0  # seconds between two writes
_NOTE_LIFE = 60.0  # seconds that a note is in the file
_WINDOW = 20.0  # seconds that a rate is an average over


class Progress:
    """In the file, `total`, `copied`, `checked` and `from_endpoint` are bytes, `rate` bytes per second, `left` seconds."""

    def __init__(self, job: Job, path: Path) -> None:
        self.job = job
        self.path = path
        self.phase = "copying"  # copying, checking, serving (complete, others are not), done, failed
        self.hashed = 0  # bytes
        self._total = sum(file_set.size for file_set in job.sets)
        self._lock = threading.Lock()
        self._samples: deque[tuple[float, int]] = deque()  # time, bytes
        self._journaled = self._note = self._error = ""
        self._noted_at = 0.0
        self._written_at = 0.0
        self._figures: dict[str, Any] = {"total": self._total, "copied": 0, "checked": 0, "from_endpoint": 0}

    def note(self, message: str, *, minor: bool = False) -> None:
        """Tell a person, in the journal; the newest note is in the file too for a while, unless it is minor."""
        if message != self._journaled:
            self._journaled = message
            print(message, file=sys.stderr, flush=True)
        if not minor:
            self._note, self._noted_at = message, time.monotonic()

    def report(self, state: State, hashed: int) -> None:
        """Write how far a transfer is, now and then; `hashed` are bytes whose checksum was worked out."""
        self.hashed = hashed
        now = time.monotonic()
        if now - self._written_at < _WRITE_INTERVAL and not state.complete:
            return
        self._written_at = now
        with state.changed:
            verified = sum(state.sizes[file] for file in state.verified)
            copied = state.copied
            checked = self._total if state.complete else max(verified, min(hashed, copied))
            from_endpoint, received, asks = state.received_from_endpoint, state.received, bool(state.fetching)
        self._samples.append((now, received))
        while len(self._samples) > 2 and now - self._samples[0][0] > _WINDOW:
            self._samples.popleft()
        if self.phase in ("copying", "checking"):
            self.phase = "checking" if copied == self._total else "copying"
        rate = self._rate()
        self._figures = {
            "total": self._total,
            "copied": copied,
            "checked": checked,
            "from_endpoint": from_endpoint,
            "asks_endpoint": asks,
            "rate": round(rate),
            "left": round((self._total - copied) / rate) if rate and copied < self._total else None,
        }
        self._write()

    def add_checked(self, amount: int) -> None:
        """Count bytes that were checked where they lie."""
        with self._lock:
            self.hashed += amount

    def report_checked(self) -> None:
        """Write how far a job without transfer is, now and then."""
        now = time.monotonic()
        if now - self._written_at < _WRITE_INTERVAL:
            return
        self._written_at = now
        self._samples.append((now, self.hashed))
        rate = self._rate()
        left = round((self._total - self.hashed) / rate) if rate else None
        self._figures |= {"copied": self._total, "checked": self.hashed, "rate": round(rate), "left": left}
        self._write()

    def end(self, phase: str, error: str = "") -> None:
        """Write how the job has ended."""
        self.phase, self._error = phase, error
        self._write()

    def _rate(self) -> float:
        (started, first), (now, last) = self._samples[0], self._samples[-1]
        return (last - first) / (now - started) if now > started else 0.0

    def _write(self) -> None:
        head = {"id": self.job.id, "host": self.job.host, "phase": self.phase, "at": time.time()}
        note = self._note if time.monotonic() - self._noted_at < _NOTE_LIFE else ""
        document = head | self._figures | {"note": note, "error": self._error}
        fresh = self.path.with_name(self.path.name + ".new")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            fresh.write_text(json.dumps(document) + "\n")
            fresh.replace(self.path)
        except OSError as error:  # a full disk must not keep the reason from the journal
            print(f"{self.path}: {error}", file=sys.stderr, flush=True)
