"""A command in a terminal: a pseudo-terminal of a given size with an emulator behind it, so that tests see what a person sees."""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

import pyte

_KEPT = 5000  # rows of the emulated screen; more than the terminal has: what has scrolled away stays to be looked at
_LIMIT = 180  # seconds a test waits for anything, unless it says otherwise
_CONTROLS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """Runs a command until the `with` block ends. Standard input, output and error are the terminal."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        columns: int,
        rows: int = 24,
        folder: Path,
        environment: Mapping[str, str],
        limit: float = _LIMIT,
    ) -> None:
        self._limit = limit
        self._master, slave = pty.openpty()
        self.written = ""  # everything that has come, controls included
        self._screen = pyte.Screen(columns, _KEPT)
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._stream = pyte.Stream(self._screen)
        self.resize(columns, rows)
        self.before = termios.tcgetattr(slave)
        self._process = subprocess.Popen(
            ["setsid", "--ctty", *command],  # Ctrl-C reaches whoever has this terminal
            cwd=folder,
            env=environment,
            stdin=slave,
            stdout=slave,
            stderr=slave,
        )
        self._slave = slave  # stays open: what the command has set of the terminal is read at its end

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        os.close(self._slave)
        os.close(self._master)
        if kind is not None:
            print("\n".join(self.lines))

    def resize(self, columns: int, rows: int = 24) -> None:
        """Give the window another size; a terminal that cuts long lines off, and does not break them anew."""
        while self._read(0):  # what was written for the size of before
            pass
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self._screen.resize(_KEPT, columns)

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._master, text.encode())

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self.type("\x03")

    def wait_for(self, text: str) -> None:
        """Wait until something has been written at some time, drawn and erased again or not."""
        self._until(lambda: text in self.plain, text)

    def wait_to_show(self, text: str) -> None:
        """Wait until something stands on the screen."""
        self._until(lambda: any(text in line for line in self.lines), text)

    def wait_for_rows(self, number: int, columns: int) -> None:
        """Wait until so many more rows have been written one after the other that are no longer; before them, the command need
        not have noticed that the window has another size.
        """
        seen = len(self.rows_written)

        def fit() -> bool:
            rows = self.rows_written[seen:]
            return len(rows) > number and max(map(len, rows[-number:])) <= columns

        self._until(fit, f"{number} more rows of {columns} columns")

    def end(self) -> int:
        """Wait for the end of the command, and of what it writes; its exit status."""
        self._until(lambda: self._process.poll() is not None, "the end")
        while self._read(0):
            pass
        return int(self._process.returncode)

    @property
    def plain(self) -> str:
        """Everything that has been written, without controls."""
        return _CONTROLS.sub("", self.written)

    @property
    def rows_written(self) -> list[str]:
        """Each row that has been written, drawn and erased again or not, without controls."""
        return [row.strip("\r") for row in self.plain.split("\n")]

    @property
    def lines(self) -> list[str]:
        """What stands on the screen and has scrolled out of it, row by row."""
        written, columns = self._screen.buffer, range(self._screen.columns)
        rows = range(max(written, default=-1) + 1)
        return ["".join(written[row][column].data for column in columns).rstrip() for row in rows]

    @property
    def cursor_shown(self) -> bool:
        """Whether the cursor can be seen."""
        return not self._screen.cursor.hidden

    @property
    def restored(self) -> bool:
        """Whether the terminal is set as it was before: echo, line mode, signals of keys."""
        return bool(termios.tcgetattr(self._slave) == self.before)

    def _until(self, done: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + self._limit
        while not done():
            if not self._read(0.2) and self._process.poll() is not None:
                assert done(), f"ended without: {what}"
            assert time.monotonic() < deadline, f"not within {self._limit} s: {what}"

    def _read(self, seconds: float) -> bool:
        """Read what there is; whether anything has come within some seconds."""
        if not select.select([self._master], [], [], seconds)[0]:
            return False
        text = self._decoder.decode(os.read(self._master, 65536))
        self.written += text
        self._stream.feed(text)
        return True
