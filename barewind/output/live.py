"""The live view of a run at the foot of a terminal."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from barewind.output.account import Account
from barewind.output.names import shorten
from barewind.progress.meter import duration

if TYPE_CHECKING:
    from rich.console import Console

_ROWS = 10  # of hosts
_SIZE = (80, 24)  # columns and lines, where the terminal does not say

Row = tuple[str, str]  # what it is about, in bold; what is said of it
Frame = Callable[[int, int], list[Row]]  # of columns and lines: rows that fit


def rows(account: Account, now: float, columns: int, lines: int) -> list[Row]:
    """What is going on: how far the run is, then host by host. Only ASCII, and narrower than `columns`."""
    if not account.step:
        return []
    begun = min((work.since for work in account.at_work.values()), default=now)
    if account.batch is not None:
        batch = account.batch
        head = (
            f"batch {batch.number} of {batch.of}",
            f"{duration(now - batch.begun)}, time left: {account.time_left(now)}",
        )
    else:
        head = (account.step, f"{account.done} of {len(account.hosts)} hosts, {duration(now - begun)}")
    most = max(1, min(_ROWS, lines - 4))
    at_work = list(account.at_work.items())
    shown = at_work if len(at_work) <= most else at_work[: most - 1]
    width = min(max((len(host) for host, _ in shown), default=0), max(8, columns // 3))
    hosts = []
    for host, work in shown:
        name = f"  {shorten(host, width):<{width}}"
        said = f"{work.step}, {duration(now - work.since)}{': ' if work.detail else ''}{work.detail}"
        if (
            len(name) + 2 + len(said) >= columns
        ):  # what it waits for says more than which part of a deploy it belongs to
            said = said.removeprefix(work.step.rpartition(" | ")[0] + " | ")
        hosts.append((name, said))
    more = [(f"  and {len(at_work) - len(shown)} more hosts", "")] if len(shown) < len(at_work) else []
    return [_fitting(row, columns) for row in [head, *hosts, *more]]


def counted(what: str, done: int, of: int, seconds: float, columns: int) -> list[Row]:
    """One row that counts hosts."""
    return [_fitting((what, f"{done} of {of} hosts, {duration(seconds)}"), columns)]


def _fitting(row: Row, columns: int) -> Row:
    """In the last column the cursor of some terminals is on the next line already."""
    most = columns - 1
    title = _ascii(row[0])[:most]
    rest = _ascii(" ".join(row[1].split()))
    room = most - len(title) - 2
    if len(rest) > room:
        rest = f"{rest[: room - 2]}.." if room > 2 else ""
    return title, rest


def _ascii(text: str) -> str:
    """Any terminal can show it: the engine's own log stands in what a gate says."""
    return "".join(char if " " <= char <= "~" else "?" for char in text)


class LiveView:
    """Draws rows below everything else that is printed, and takes them away before anything is."""

    def __init__(self, frame: Frame, console: Console, size: Callable[[], tuple[int, int]]) -> None:
        """`console` writes to the terminal; `size` is asked each time, since windows change."""
        self._frame = frame
        self._console = console
        self._size = size
        self._drawn = 0  # rows
        self._drawing = False
        self._line_open = False  # somebody else's line has not ended: a question, whose answer is waited for
        self._paused = 0

    def draw(self) -> None:
        """Draw the rows of now in place of those that are there."""
        if self._drawing or self._line_open or self._paused:
            return
        columns, lines = self._size()
        found = self._frame(columns, lines)
        with self._mine():
            self._clear()
            for title, rest in found:
                self._console.print(self._text(title, rest), soft_wrap=True)
            self._drawn = len(found)

    def erase(self) -> None:
        """Take the rows away."""
        if self._drawn and not self._drawing:
            with self._mine():
                self._clear()

    def others_write(self, data: bytes) -> None:
        """Called before something else is written to the terminal."""
        if self._drawing:
            return
        self.erase()
        self._line_open = not data.endswith(b"\n") if data else self._line_open

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Nothing is drawn meanwhile: a person is asked something."""
        self.erase()
        self._paused += 1
        try:
            yield
        finally:
            self._paused -= 1
            self._line_open = False

    @contextmanager
    def _mine(self) -> Iterator[None]:
        self._drawing = True
        try:
            with self._console:  # written at once when it ends
                yield
        finally:
            self._drawing = False

    def _clear(self) -> None:
        from rich.control import Control
        from rich.segment import ControlType

        # Where a window has become narrower, some terminals break rows anew and others cut them off. Nobody says which; so that
        # nothing else is ever taken away, the beginning of a broken row may stay.
        height, self._drawn = self._drawn, 0
        if height:
            up = [(ControlType.CURSOR_UP, 1), (ControlType.ERASE_IN_LINE, 2)]
            self._console.control(Control(ControlType.CARRIAGE_RETURN, *up * height))

    @staticmethod
    def _text(title: str, rest: str) -> object:
        from rich.text import Text

        return Text.assemble((title, "bold"), "  " if rest else "", rest)


def terminal_size(descriptor: int) -> tuple[int, int]:
    """Columns and lines of a terminal."""
    try:
        size = os.get_terminal_size(descriptor)
    except OSError:
        return _SIZE
    return size.columns or _SIZE[0], size.lines or _SIZE[1]
