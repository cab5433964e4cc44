"""What Barewind adds to the `pyinfra` command, installed by `config.py`.

pyinfra has no hook between reading the inventory and connecting to it, so two of its functions are wrapped here; the
version is pinned and tests go through the command itself. Wrapped are: reading the inventory (validate every host's data
before any connection, refuse malformed groups and a missing file), and the start of a run (refuse a --limit that matches
nothing, run as many hosts at a time as there are). SSH sockets get TCP_NODELAY: paramiko does not set it, and each
command then waits about 44 ms for a delayed acknowledgement.
"""

from __future__ import annotations

import functools
import socket
import sys
from typing import Any

import paramiko
import pyinfra_cli.cli
from pyinfra.api.state import State
from pyinfra_cli.exceptions import CliError

from barewind.errors import BarewindError
from barewind.inventory import check_file, check_keys, entries
from barewind.site import read_site


def install() -> None:
    """Wrap what is named above; a second call changes nothing."""
    if hasattr(State.init, "__wrapped__"):
        return
    _check_inventory()
    _check_limit()
    no_delay()


def no_delay() -> None:
    """Make every SSH connection of this process send small packets at once."""
    connect = paramiko.Transport.__init__

    @functools.wraps(connect)
    def connect_without_delay(self: paramiko.Transport, sock: Any, *args: Any, **kwargs: Any) -> None:
        connect(self, sock, *args, **kwargs)
        if isinstance(self.sock, socket.socket):  # a jump host's channel is none
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    paramiko.Transport.__init__ = connect_without_delay  # type: ignore[method-assign]


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


def _check_limit() -> None:
    init = State.init

    @functools.wraps(init)
    def init_checked(self: State, inventory: Any, config: Any, initial_limit: list[Any] | None = None) -> None:
        if initial_limit is not None and not initial_limit:
            raise CliError("--limit / --exclude: no host is left; name a group or a host of the inventory.")
        if not config.PARALLEL:
            config.PARALLEL = len(inventory)
        init(self, inventory, config, initial_limit)

    State.init = init_checked  # type: ignore[method-assign]
