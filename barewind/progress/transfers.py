"""What a person sees of long transfers on this machine: bars on a terminal, else a line now and then."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from barewind.progress.meter import Meter

_LOG_INTERVAL = 15.0  # seconds between two lines in a log


class Transfers:
    """Shows named transfers while they run; several threads may use it."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, highlight=False)
        self._lock = threading.Lock()
        self._bars = (
            Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.percentage:>3.0f} %"),
                DownloadColumn(binary_units=True),
                TransferSpeedColumn(),
                TimeRemainingColumn(),
                console=self.console,
                transient=True,
            )
            if self.console.is_terminal
            else None
        )

    def __enter__(self) -> Transfers:
        if self._bars:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars:
            self._bars.stop()

    def say(self, text: str) -> None:
        """Print a line of its own."""
        self.console.print(text, markup=False, soft_wrap=True)

    def begin(self, name: str, total: int, *, done: int = 0) -> Transfer:
        """Show a transfer of `total` bytes, of which `done` are there already."""
        return Transfer(self, name, total, done)


class Transfer:
    """One named transfer, shown until its `with` block ends."""

    def __init__(self, shown: Transfers, name: str, total: int, done: int) -> None:
        self._shown, self._name = shown, name
        self._meter = Meter(total, time.monotonic(), done=done)
        self._logged = time.monotonic()
        bars = shown._bars
        self._task = None if bars is None else bars.add_task(name, total=total, completed=done)

    def __enter__(self) -> Transfer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shown._bars and self._task is not None:
            self._shown._bars.remove_task(self._task)

    def advance(self, amount: int) -> None:
        """Count `amount` bytes more, or fewer when a part must be transferred again."""
        with self._shown._lock:
            now = time.monotonic()
            self._meter.advance(amount, now)
            if self._shown._bars and self._task is not None:
                self._shown._bars.update(self._task, completed=self._meter.done)
            elif now - self._logged > _LOG_INTERVAL:
                self._logged = now
                self._shown.say(f"{self._name}: {self._meter}")

    def counted(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """The same pieces, counted as they pass; when they end early, they are not counted after all."""
        passed = 0
        whole = False
        try:
            for piece in pieces:
                passed += len(piece)
                self.advance(len(piece))
                yield piece
            whole = True
        finally:
            if not whole:
                self.advance(-passed)
