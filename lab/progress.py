"""What a person sees while the lab comes up: one line per step with its seconds; a spinner on a terminal."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn


class Steps:
    """Prints steps; several may run at once."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        self._lock = threading.Lock()
        self._live: Progress | None = None

    @contextmanager
    def shown(self) -> Iterator["Steps"]:
        """Spinners live inside this; without a terminal there are only plain lines."""
        if not self.console.is_terminal:
            yield self
            return
        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        with Progress(*columns, console=self.console, transient=True) as self._live:
            yield self
        self._live = None

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """One step: done, or failed if an exception passes through."""
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
        """A line of its own."""
        self.console.print(text)
