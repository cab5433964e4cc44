"""Commands on a host outside of pyinfra's order: on a balancer while an engine host is in hand, around a restart."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import gevent
from gevent.lock import RLock
from paramiko.ssh_exception import SSHException
from pyinfra.api import Host, State
from pyinfra.api.arguments import CONNECTOR_ARGUMENT_KEYS, pop_global_arguments
from pyinfra.api.exceptions import ConnectError

TIMEOUT = 60  # seconds for a command that answers at once
_BROKEN = (ConnectError, SSHException, TimeoutError, OSError, EOFError)  # what a connection fails with
_connecting: WeakKeyDictionary[Host, RLock] = WeakKeyDictionary()


@dataclass(frozen=True)
class Answer:
    """What a command said; `problem` is empty when it succeeded."""

    output: str
    problem: str


def run(state: State, host: Host, command: str, *, timeout: int = TIMEOUT, stdin: str | None = None) -> Answer:
    """Run a shell command with the privileges that the host's data give, `stdin` on its input; connects first if need be."""
    try:
        with _connecting.setdefault(host, RLock()):
            host.connect(show_errors=False, raise_exceptions=True)
        return _over(state, host, command, timeout, stdin)
    except _BROKEN as error:
        host.disconnect()
        return Answer("", _said(error))


def run_beside(state: State, host: Host, command: str, *, timeout: int = TIMEOUT) -> Answer:
    """`run` over the connection that is there, and leave it as it is: something else may be running on it."""
    if not host.connected:
        return Answer("", "not connected")
    try:
        return _over(state, host, command, timeout)
    except _BROKEN as error:
        return Answer("", _said(error))


def _over(state: State, host: Host, command: str, timeout: int, stdin: str | None = None) -> Answer:
    with gevent.Timeout(timeout + TIMEOUT, TimeoutError("the connection is stuck")):
        done, output = host.run_shell_command(_line(command), **_arguments(state, host, timeout, stdin))
    return Answer(output.stdout, "" if done else output.stderr.strip() or "the command failed")


def _said(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _line(command: str) -> str:
    return f"sh -c {shlex.quote(command)}"


def _arguments(state: State, host: Host, timeout: int, stdin: str | None) -> Mapping[str, object]:
    wanted, _ = pop_global_arguments(state, host, {})
    found = {key: value for key, value in wanted.items() if key in CONNECTOR_ARGUMENT_KEYS} | {"_timeout": timeout}
    return found if stdin is None else found | {"_stdin": stdin}
