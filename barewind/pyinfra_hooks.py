"""Additions to the `pyinfra` command, which `config.py` installs.

pyinfra has no hook between reading the inventory and connecting to it, so some of its functions are wrapped here; the
version is pinned and tests go through the command itself. Wrapped are: reading the inventory (validate every host's data
before any connection, refuse malformed groups and a missing file; find connectors once), the start of a run (refuse a --limit
that matches nothing, more hosts than this process may open files for, and an order of pyinfra's that knows no batches; run as
many hosts at a time as there are), its end (a run that fails shows what is where), and the end of the command (the lease is
released). Ctrl-C waits until no host's turn is in the middle of something. What hosts.connection, hosts.held, hosts.terminal,
hosts.telling, hosts.pyinfra_arguments, hosts.pyinfra_order and hosts.readings wrap stands there.
"""

from __future__ import annotations

import functools
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import click
import pyinfra_cli.cli
from gevent.hub import Hub, get_hub
from pyinfra.api import connectors
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.state import State
from pyinfra_cli.exceptions import CliError

from barewind.errors import BarewindError
from barewind.hosts import held, pyinfra_arguments, pyinfra_order, readings, telling, terminal
from barewind.hosts.connection import tune_connections
from barewind.hosts.files_limit import raise_limit
from barewind.output import connecting
from barewind.output import hooks as output
from barewind.site.files import check_file, told
from barewind.site.inventory import check_keys, entries, plain_errors
from barewind.site.read import read_site

_INTERRUPTED = 130  # the exit status of a program that Ctrl-C has ended: 128 + SIGINT
# In these orders no barrier holds a host back, and nothing calls operation_start, which looks after the lease.
_ORDERS = {
    "no_wait": "--no-wait: hosts would not wait for each other, and a rollout goes batch by batch; leave it out",
    "serial": "--serial: a host would go through every step before the next begins, and a rollout goes batch by batch; "
    "leave it out",
}
_NO_ROLLOUT = ("debug-inventory", "fact", "exec")  # what pyinfra takes in place of files and operations

_endings: list[Callable[[BaseException | None], None]] = []
_closings: list[Callable[[], None]] = []
_changes = True  # whether the command is to change hosts


def install() -> None:
    """Wrap the functions of pyinfra that are named above; a second call changes nothing."""
    if installed():
        return
    # A host's turn that fails ends the run with its message; gevent would print a traceback of it beside.
    Hub.NOT_ERROR = (*Hub.NOT_ERROR, PyinfraError)
    pyinfra_order.install()
    pyinfra_arguments.install()
    # After pyinfra's own tables have been wrapped, which it replaces; before the rest: what a run that fails does at its end
    # comes after the account of the run.
    output.install()
    connecting.install()
    _find_connectors_once()
    _check_inventory()
    _check_start()
    _end_of_run()
    _close()
    _interrupt_between_turns()
    tune_connections()
    terminal.install()
    held.install()
    telling.install()
    readings.install()


def installed() -> bool:
    """Whether they are wrapped: a run without has neither a lease that ends with it nor an end at the first failure."""
    return hasattr(State.init, "__wrapped__")


def at_end(call: Callable[[BaseException | None], None]) -> None:
    """Have `call` called when the operations have ended and hosts are still connected, with the error that ended them.

    Of several calls the last comes first. None comes when a run never began its operations. A run that has such calls stops
    at its first failure.
    """
    _endings.append(call)


def before_disconnect(call: Callable[[], None]) -> None:
    """Have `call` called before hosts are disconnected, however the command ends, unless a signal kills it."""
    _closings.append(call)


def changes_hosts() -> bool:
    """Whether the command may change hosts: not with --dry, with --json but no -y, or with a --debug-... that only shows."""
    return _changes


def _find_connectors_once() -> None:
    """pyinfra would look through every installed package anew for each host of the inventory."""
    connectors.entry_points = functools.cache(connectors.entry_points)


def _check_inventory() -> None:
    make_inventory = pyinfra_cli.cli.make_inventory

    @functools.wraps(make_inventory)
    def make_checked_inventory(inventory: str, *args: Any, **kwargs: Any) -> Any:
        try:
            check_file(inventory)
            with plain_errors(inventory):
                made = make_inventory(inventory, *args, **kwargs)
            hosts = entries(made, inventory)
            if "debug-inventory" not in sys.argv:  # it shows data, right or wrong
                read_site(hosts)
                check_keys(hosts)
                for note in told(inventory, {group for host in hosts for group in host.groups}):
                    click.echo(f"note: {note}", err=True)
        except BarewindError as error:
            raise CliError(f"nothing was changed\n{error}") from error
        return made

    pyinfra_cli.cli.make_inventory = make_checked_inventory


def _end_of_run() -> None:
    run_ops = pyinfra_cli.cli.run_ops

    @functools.wraps(run_ops)
    def run_ops_to_the_end(state: State, *args: Any, **kwargs: Any) -> None:
        if _endings:
            state.config.FAIL_PERCENT = 0  # whatever the command line says: what comes next must not begin
            state.should_raise_failed_hosts = None  # without -y, pyinfra would ask whether to go on
        try:
            run_ops(state, *args, **kwargs)
        except (KeyboardInterrupt, SystemExit) as error:  # Ctrl-C, which pyinfra makes an exit with status 0
            _call_endings(error)
            raise SystemExit(_INTERRUPTED) from None
        except BaseException as error:
            _call_endings(error)
            raise
        _call_endings(None)

    pyinfra_cli.cli.run_ops = run_ops_to_the_end


def _call_endings(error: BaseException | None) -> None:
    while _endings:
        _endings.pop()(error)


def _close() -> None:
    disconnect_all = pyinfra_cli.cli.disconnect_all

    @functools.wraps(disconnect_all)
    def close_and_disconnect_all(state: State) -> None:
        while _closings:
            _closings.pop()()
        disconnect_all(state)

    pyinfra_cli.cli.disconnect_all = close_and_disconnect_all


def _interrupt_between_turns() -> None:
    """Ctrl-C ends the run from its main greenlet: pyinfra would end it in the middle of a host's turn, or of a line that is being
    drawn, whatever runs at that moment. A second Ctrl-C does not wait until something else may run."""
    interrupt = signal.getsignal(signal.SIGINT)
    if not callable(interrupt) or interrupt is signal.default_int_handler:
        return
    waiting: list[object] = []

    def interrupt_soon(number: int, frame: FrameType | None) -> None:
        if waiting:
            interrupt(number, frame)
        waiting.append(get_hub().loop.run_callback(interrupt, number, None))

    signal.signal(signal.SIGINT, interrupt_soon)


def _to_change_hosts() -> bool:
    context = click.get_current_context(silent=True)
    if context is None:
        return True
    shows = any(context.params.get(name) for name in ("dry", "debug_facts", "debug_operations"))
    return not shows and not (context.params.get("json_output") and not context.params.get("yes"))


def _order_refused() -> str:
    """Why hosts must not be changed in the order that the command line asks for; empty if they may be."""
    context = click.get_current_context(silent=True)
    if context is None or (context.params.get("operations") or ("",))[0] in _NO_ROLLOUT:
        return ""
    return "\n".join(why for name, why in _ORDERS.items() if context.params.get(name))


def _check_start() -> None:
    init = State.init

    @functools.wraps(init)
    def init_checked(self: State, inventory: Any, config: Any, initial_limit: list[Any] | None = None) -> None:
        global _changes
        if initial_limit is not None and not initial_limit:
            raise CliError("--limit / --exclude: no host is left; name a group or a host of the inventory.")
        try:
            raise_limit(len(inventory if initial_limit is None else initial_limit))
        except BarewindError as error:
            raise CliError(f"nothing was changed\n{error}") from error
        if not config.PARALLEL:
            config.PARALLEL = len(inventory)
        _changes = _to_change_hosts()
        if _changes and (problem := _order_refused()):
            raise CliError(f"nothing was changed\n{problem}")
        init(self, inventory, config, initial_limit)

    State.init = init_checked  # type: ignore[method-assign]
