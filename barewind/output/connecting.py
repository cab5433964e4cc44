"""Hosts that cannot be connected to are told together, at the end of connecting: alike ones in one line."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import pyinfra_cli.cli
from pyinfra import logger
from pyinfra.api import Host, State
from pyinfra.api.exceptions import ConnectError, PyinfraError
from pyinfra.api.state import BaseStateCallback
from pyinfra_cli.exceptions import CliError

from barewind.output.names import fold

_NAMED = 5  # hosts of a line whose addresses are told too
_telling: set[State] = set()  # whose hosts are being connected to: what fails is told at the end


class _Failures(BaseStateCallback):
    """The hosts that could not be connected to, and why."""

    def __init__(self) -> None:
        self.messages: dict[Host, str] = {}

    def host_connect_error(self, state: State, host: Host, error: ConnectError) -> None:  # type: ignore[override]  # noqa: ARG002
        """Called by pyinfra for each of them."""
        self.messages[host] = str(error.args[0])


def install() -> None:
    """Have the `pyinfra` command tell so; called once."""
    connect_all, connect = pyinfra_cli.cli.connect_all, Host.connect

    @functools.wraps(connect)
    def connect_or_be_noted(self: Host, reason: Any = None, show_errors: bool = True, **kwargs: bool) -> None:
        connect(self, reason, show_errors and self.state not in _telling, **kwargs)

    @functools.wraps(connect_all)
    def connect_all_and_tell(state: State) -> None:
        failures = _Failures()
        state.add_callback_handler(failures)
        _telling.add(state)
        try:
            connect_all(state)
        except PyinfraError as error:
            if not failures.messages:
                raise
            of = sum(1 for host in state.inventory if state.is_host_in_limit(host))
            raise CliError(
                f"nothing was changed: {len(failures.messages)} of {of} hosts cannot be connected to, see above; mend them, or "
                "leave them out: --exclude HOST"
            ) from error
        finally:
            _telling.discard(state)
            state.callback_handlers.remove(failures)
            failed = [host for host in state.inventory if host in failures.messages]
            for line in lines({host.name: (_address(host), failures.messages[host]) for host in failed}):
                logger.error(line)

    Host.connect = connect_or_be_noted  # type: ignore[assignment, method-assign]
    pyinfra_cli.cli.connect_all = connect_all_and_tell


def lines(failures: Mapping[str, tuple[str, str]]) -> list[str]:
    """What people read of hosts that cannot be connected to, by name their address and message: a line per kind of failure."""
    kinds: dict[str, list[str]] = {}
    for name, (address, message) in failures.items():
        kind = message.replace("[Errno None] ", "").replace(address, "its address")
        kinds.setdefault(kind, []).append(name)
    return [
        f"{kind}: {_who(names, failures)}" if len(names) > 1 else f"[{names[0]}] {failures[names[0]][1]}"
        for kind, names in kinds.items()
    ]


def _who(names: list[str], failures: Mapping[str, tuple[str, str]]) -> str:
    if len(names) > _NAMED:
        return fold(names)
    return ", ".join(name if failures[name][0] == name else f"{name} ({failures[name][0]})" for name in names)


def _address(host: Host) -> str:
    return str(host.data.get("ssh_hostname") or host.name)
