"""Progress of `up` and `down`: a line per step with its seconds, a spinner on a terminal."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn


class Steps:
    """Prints the steps of a command; several may run at the same time."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        self._lock = threading.Lock()
        self._live: Progress | None = None

    @contextmanager
    def shown(self) -> Iterator["Steps"]:
        """Context in which running steps have spinners; without a terminal, only lines are printed."""
        if not self.console.is_terminal:
            yield self
            return
        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        with Progress(*columns, console=self.console, transient=True) as self._live:
            yield self
        self._live = None

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Context of a step: prints `ok` at its end, or `failed` when an exception leaves it."""
        start = time.monotonic()
        task = self._live.add_task(name) if self._live else None
        mark, style = "failed", "red"
        try:
            yield
            mark, style = "ok", "green"
        finally:
            if self._live and task is not None:
                self._live.remove_task(task)
            with self._lock:
                seconds = time.monotonic() - start
                self.console.print(f"[{style}]{mark:>6}[/] {name} [dim]{seconds:.1f} s[/]")

    def say(self, text: str) -> None:
        """Print a line."""
        self.console.print(text)
