"""Hooks into the `pyinfra` command: it tells the account of a run, and people read that instead of its own lines.

Only runs of deploy files, and only as long as nobody wants more: with -v, --debug or --json everything is printed as pyinfra
has it. In what is printed, warnings, errors and messages of steps stay whole; pyinfra's own lines of hosts (Connected, Ready,
Skipped, No changes, Success) become counts, and lines of the account.
"""

from __future__ import annotations

import functools
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import PurePath
from typing import Any

import click
import gevent
import pyinfra.connectors.ssh_util
import pyinfra.connectors.util
import pyinfra_cli.cli
from pyinfra import logger
from pyinfra.api import State
from pyinfra.context import ctx_host
from pyinfra_cli.log import LogFormatter, LogHandler

from barewind.output import lines, live, steps, streams, totals
from barewind.output.account import STARTS, Account, Line
from barewind.output.callbacks import Callbacks, harmless
from barewind.progress import ticks

_REFRESH = 0.5  # seconds between two drawings
# Lines of pyinfra's own about one host, by file and function.
_COUNTED = {("host.py", "connect"): "connected", ("util.py", "load_file"): "ready"}
_DROPPED = {("operations.py", "run_host_op"), ("operations.py", "_run_host_op"), ("util.py", "log_operation_start")}
_MORE = ("verbosity", "debug", "debug_all", "debug_facts", "debug_operations", "json_output", "serial", "no_wait")


def install() -> None:
    """Have standard output and error never end a run, and the run told for people; called once, before other hooks."""
    out, err = streams.protect()
    context = click.get_current_context(silent=True)
    if context is None or not _for_people(context.params):
        return
    plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM", "dumb") == "dumb"
    told = _Told(err, plain=plain)
    if err.isatty() and not plain:
        told.show(out, err)
    if err.isatty():
        os.environ["PYINFRA_PROGRESS"] = "off"  # two would draw over each other
    for handler in [handler for handler in logger.handlers if isinstance(handler, LogHandler)]:
        logger.removeHandler(handler)
    logger.addHandler(told)
    _wrap(told)


def _for_people(params: dict[str, Any]) -> bool:
    operations = params.get("operations") or ()
    return all(name.endswith(".py") for name in operations) and not any(params.get(name) for name in _MORE)


class _Told(logging.Handler):
    """pyinfra's log, as people read it."""

    def __init__(self, err: streams.Unbreakable, *, plain: bool) -> None:
        """`err`: what is below standard error; `plain`: without colours."""
        super().__init__()
        self._err = err
        self.account = Account()
        self.view: live.LiveView | None = None
        self._plain = plain
        self._lines = LogFormatter()
        self._counts: dict[str, int] = {}
        self._counting: tuple[str, str, int, float] | None = None  # what, the key of its count, of how many, since when

    def show(self, out: streams.Unbreakable, err: streams.Unbreakable) -> None:
        """Show a live view on the terminal that is standard error."""
        from rich.console import Console  # slow to import

        # A stream of its own: it draws while standard error is about to write.
        console = Console(file=streams.text(streams.Unbreakable(err.fileno())), force_terminal=True, highlight=False)
        view = live.LiveView(self._frame, console, lambda: live.terminal_size(err.fileno()))
        self.view = view
        err.watcher = view.others_write
        if out.isatty():
            out.watcher = view.others_write
        ticks.listen(self._detail)

        def refresh() -> None:
            while True:
                gevent.sleep(_REFRESH)
                view.draw()

        gevent.spawn(refresh)

    def emit(self, record: logging.LogRecord) -> None:
        """Print what people are to read of a record."""
        try:
            self._tell(record)
        except Exception:
            self.handleError(record)

    def print(self, told: list[Line]) -> None:
        """Print lines of the account."""
        for line in told:
            self._echo(_styled(line))

    @contextmanager
    def counting(self, what: str, key: str, state: State) -> Iterator[None]:
        """Count hosts in the live view meanwhile; then tell how many there were."""
        of = sum(1 for host in state.inventory if state.is_host_in_limit(host))
        self._counting = (what, key, of, time.monotonic())
        try:
            yield
        finally:
            self._counting = None
            self._tell_counts()

    def paused(self) -> AbstractContextManager[None]:
        """Nothing is drawn meanwhile."""
        return nullcontext() if self.view is None else self.view.paused()

    def _tell(self, record: logging.LogRecord) -> None:
        place = (PurePath(record.pathname).name, record.funcName or "")
        if record.levelno == logging.INFO:
            if place in _DROPPED:
                return
            # A host that is connected to again says why.
            if place in _COUNTED and not click.unstyle(record.getMessage()).endswith(")"):
                self._counts[_COUNTED[place]] = self._counts.get(_COUNTED[place], 0) + 1
                return
        self._lines.previous_was_header = True  # else it prints an empty line before each heading
        line = self._lines.format(record)
        if ticks.is_tick() and self.account.step:
            if self.view is None:
                self.print(self.account.tick(line.strip(), time.monotonic()))
            return
        if "-->" not in line or record.levelno > logging.INFO:
            self.print(self.account.heading())
        else:
            self._tell_counts()
        self._echo(line)

    def _tell_counts(self) -> None:
        counts, self._counts = self._counts, {}
        for what, number in counts.items():
            self._echo(f"    {number} host{'' if number == 1 else 's'} {what}")

    def _echo(self, line: str) -> None:
        if self._err.isatty():
            line = lines.wrapped(line, live.terminal_size(self._err.fileno())[0] - 1)
        click.echo(click.unstyle(line) if self._plain else line, err=True)

    def _detail(self, message: str) -> None:
        if ctx_host.isset():
            name = ctx_host.get().name
            self.account.detail(name, message.removeprefix(f"waits for {name}: "))

    def _frame(self, columns: int, lines: int) -> list[live.Row]:
        now = time.monotonic()
        if self._counting is not None:
            what, key, of, since = self._counting
            return live.counted(what, self._counts.get(key, 0), of, now - since, columns)
        return live.rows(self.account, now, columns, lines)


def _wrap(told: _Told) -> None:
    cli = pyinfra_cli.cli
    connect_all, load_deploy_file, run_ops, confirm = (
        cli.connect_all,
        cli.load_deploy_file,
        cli.run_ops,
        cli._do_confirm,
    )

    @functools.wraps(connect_all)
    def connect_counted(state: State) -> None:
        with told.counting("connecting", "connected", state):
            connect_all(state)

    @functools.wraps(load_deploy_file)
    def load_counted(state: State, filename: str) -> None:
        with told.counting(f"reading {filename}", "ready", state):
            load_deploy_file(state, filename)

    @functools.wraps(run_ops)
    def run_ops_told(state: State, *args: Any, **kwargs: Any) -> None:
        state.add_callback_handler(Callbacks(told.account, told.print, state))
        try:
            run_ops(state, *args, **kwargs)
        finally:
            harmless(lambda: told.print(told.account.finish(time.monotonic())))()

    def tell(texts: list[str]) -> None:
        for text in texts:
            logger.info(text)

    cli.connect_all, cli.load_deploy_file, cli.run_ops = connect_counted, load_counted, run_ops_told
    cli.print_meta = lambda state: tell(steps.planned(totals.of_plan(state)))
    cli.print_results = lambda state: tell(steps.results(totals.of_results(state)))

    cli._do_confirm = _asking(told, confirm)
    modules: tuple[Any, ...] = (cli, pyinfra.connectors.util, pyinfra.connectors.ssh_util)
    for module in modules:
        module.getpass = _asking(told, module.getpass)


def _asking(told: _Told, ask: Callable[..., Any]) -> Callable[..., Any]:
    """The same question with nothing drawn over it."""

    @functools.wraps(ask)
    def asked(*args: Any, **kwargs: Any) -> Any:
        with told.paused():
            return ask(*args, **kwargs)

    return asked


def _styled(line: Line) -> str:
    if line.heading:
        return click.style(f"--> {STARTS}", "blue") + click.style(line.text.removeprefix(STARTS), bold=True)
    return "    " + (line.text.replace("Success", click.style("Success", "green"), 1) if line.good else line.text)
