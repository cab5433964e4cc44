"""Standard output and standard error that never end a run: who reads them may go away (`| head`), a log's disk may be full."""

from __future__ import annotations

import io
import os
import select
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

Watcher = Callable[[bytes], None]


class Unbreakable(io.RawIOBase):
    """Writes to a file descriptor; once that fails, everything more is thrown away in silence."""

    def __init__(self, descriptor: int) -> None:
        """The descriptor is not closed with it."""
        self._descriptor = descriptor
        self.broken = False  # nobody reads any more
        self.watcher: Watcher | None = None  # is told what is about to be written

    def fileno(self) -> int:
        """The descriptor."""
        return self._descriptor

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, data: ReadableBuffer, /) -> int:
        """Write all of it, or forget it."""
        rest = bytes(data)
        if self.watcher is not None:
            self.watcher(rest)
        size = len(rest)
        while rest and not self.broken:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:  # somebody else has set the terminal or the pipe so
                select.select([], [self._descriptor], [])
            except OSError:
                self.broken = True
        return size


def text(raw: Unbreakable, encoding: str = "utf-8") -> io.TextIOWrapper:
    """A stream of text on top of one. What its encoding cannot hold becomes an escape: it must not end the run either."""
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding=encoding, errors="backslashreplace", line_buffering=True)


def protect() -> tuple[Unbreakable, Unbreakable]:
    """Replace this process' standard output and error; a second call changes nothing. Returns what is below them."""
    raws = []
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        raw = getattr(getattr(stream, "buffer", None), "raw", None)
        if not isinstance(raw, Unbreakable):
            with suppress(OSError):
                stream.flush()
            raw = Unbreakable(stream.fileno())
            setattr(sys, name, text(raw, stream.encoding))
        raws.append(raw)
    return raws[0], raws[1]


def gone(stream: object) -> bool:
    """Whether who reads a stream has gone away; seen when something is written."""
    raw = getattr(getattr(stream, "buffer", None), "raw", None)
    return isinstance(raw, Unbreakable) and raw.broken
