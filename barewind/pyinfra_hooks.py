"""What Barewind adds to the `pyinfra` command, installed by `config.py`.

pyinfra has no hook between reading the inventory and connecting to it, so some of its functions are wrapped here; the
version is pinned and tests go through the command itself. Wrapped are: reading the inventory (validate every host's data
before any connection, refuse malformed groups and a missing file), the start of a run (refuse a --limit that matches
nothing and an order of pyinfra's that knows no batches, run as many hosts at a time as there are), its end (a run that
fails says what is where), and the end of the command (what it holds is given back). SSH sockets get
TCP_NODELAY: paramiko does not set it, and each command then waits about 44 ms for a delayed acknowledgement. And they notice
that a host is gone: without it, a command on a host that has lost its power ends when its own time is over, which may be hours.
"""

from __future__ import annotations

import functools
import socket
import sys
from collections.abc import Callable
from typing import Any

import click
import paramiko
import pyinfra_cli.cli
from gevent.hub import Hub
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.state import State
from pyinfra_cli.exceptions import CliError

from barewind.errors import BarewindError
from barewind.inventory import check_file, check_keys, entries
from barewind.site import read_site

_INTERRUPTED = 130  # the exit status of a program that Ctrl-C has ended: 128 + SIGINT
# A host that acknowledges nothing for a minute is gone: asked after 15 s of silence, then every 15 s; the last in milliseconds.
_GONE = {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 60_000}
# In these orders no barrier holds a host back, and nothing calls operation_start, which looks after the lock of the fleet.
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
    """Wrap what is named above; a second call changes nothing."""
    if hasattr(State.init, "__wrapped__"):
        return
    # A host's turn that fails ends the run with its message; gevent would print a traceback of it beside.
    Hub.NOT_ERROR = (*Hub.NOT_ERROR, PyinfraError)
    _check_inventory()
    _check_start()
    _end_of_run()
    _close()
    tune_connections()


def at_end(call: Callable[[BaseException | None], None]) -> None:
    """Have something done when the operations have ended, the hosts still connected: it gets the error that ended them.

    What was asked for last is done first. A run that never began its operations has no such end. One that has it stops at
    its first failure.
    """
    _endings.append(call)


def before_disconnect(call: Callable[[], None]) -> None:
    """Have something done before the hosts are disconnected, however the command ends but for a signal that kills it."""
    _closings.append(call)


def changes_hosts() -> bool:
    """Whether the command goes on to change hosts: not with --dry, --json without -y, or a --debug-... that only shows."""
    return _changes


def tune_connections() -> None:
    """Make every SSH connection of this process send small packets at once, end when its host has long been silent, and say so
    when it ends just as a command begins: paramiko then raises what pyinfra takes for an error of its own."""
    connect, open_channel = paramiko.Transport.__init__, paramiko.Transport.open_channel

    @functools.wraps(connect)
    def connect_tuned(self: paramiko.Transport, sock: Any, *args: Any, **kwargs: Any) -> None:
        connect(self, sock, *args, **kwargs)
        if isinstance(self.sock, socket.socket):  # a jump host's channel is none
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for name, value in _GONE.items():
                if hasattr(socket, name):  # other systems than Linux lack some
                    self.sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

    @functools.wraps(open_channel)
    def open_channel_or_say(self: paramiko.Transport, *args: Any, **kwargs: Any) -> paramiko.Channel:
        try:
            return open_channel(self, *args, **kwargs)
        except EOFError:
            raise paramiko.SSHException("the connection has ended") from None

    paramiko.Transport.__init__ = connect_tuned  # type: ignore[method-assign]
    paramiko.Transport.open_channel = open_channel_or_say  # type: ignore[method-assign]


def _check_inventory() -> None:
    make_inventory = pyinfra_cli.cli.make_inventory

    @functools.wraps(make_inventory)
    def make_checked_inventory(inventory: str, *args: Any, **kwargs: Any) -> Any:
        try:
            check_file(inventory)
            made = make_inventory(inventory, *args, **kwargs)
            hosts = entries(made, inventory)
            if "debug-inventory" not in sys.argv:  # it shows data, right or wrong
                read_site(hosts)
                check_keys(hosts)
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


def _to_change_hosts() -> bool:
    context = click.get_current_context(silent=True)
    if context is None:
        return True
    shows = any(context.params.get(name) for name in ("dry", "debug_facts", "debug_operations"))
    return not shows and not (context.params.get("json_output") and not context.params.get("yes"))


def _order_refused() -> str:
    """Why hosts must not be changed in the order that the command line asks for; empty if they may."""
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
        if not config.PARALLEL:
            config.PARALLEL = len(inventory)
        _changes = _to_change_hosts()
        if _changes and (problem := _order_refused()):
            raise CliError(f"nothing was changed\n{problem}")
        init(self, inventory, config, initial_limit)

    State.init = init_checked  # type: ignore[method-assign]
