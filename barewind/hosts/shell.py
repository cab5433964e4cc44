"""Commands on a host outside of pyinfra's order: on a balancer during an engine host's turn, or around a restart."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import gevent
from gevent.lock import BoundedSemaphore, RLock
from paramiko.ssh_exception import SSHException
from pyinfra.api import Host, State, arguments
from pyinfra.api.exceptions import PyinfraError
from pyinfra.connectors.util import CommandOutput

from barewind.hosts import held

TIMEOUT = 60  # seconds for a command that answers at once
# Errors of a connection; PyinfraError is also that of a key file that cannot be read.
BROKEN = (PyinfraError, SSHException, TimeoutError, OSError, EOFError)
_connecting: WeakKeyDictionary[Host, RLock] = WeakKeyDictionary()
# Commands at a time over the connection to one host, which many others may ask for (a batch that is undrained on a balancer):
# sshd refuses more sessions than its MaxSessions, 10 by default, and one is pyinfra's own, one the lease's, one the shell held.
_AT_A_TIME = 7
_places: WeakKeyDictionary[Host, BoundedSemaphore] = WeakKeyDictionary()


@dataclass(frozen=True)
class Answer:
    """The output of a command; `problem` says why it failed, and is empty when it succeeded."""

    output: str
    problem: str


def run(state: State, host: Host, command: str, *, timeout: int = TIMEOUT, stdin: str | None = None) -> Answer:
    """Run a shell command with the privileges that the host's data give, and `stdin` as its input; connect first if need be."""
    try:
        with _connecting.setdefault(host, RLock()):
            host.connect(show_errors=False, raise_exceptions=True)
        with _places.setdefault(host, BoundedSemaphore(_AT_A_TIME)):
            return _over(state, host, command, timeout, stdin)
    except BROKEN as error:
        host.disconnect()
        return Answer("", _message(error))


def run_beside(state: State, host: Host, command: str, *, timeout: int = TIMEOUT) -> Answer:
    """`run` over the connection that is there, and keep that connection whatever happens: something else may use it."""
    if not host.connected:
        return Answer("", "not connected")
    try:
        return _over(state, host, command, timeout)
    except BROKEN as error:
        return Answer("", _message(error))


def _over(state: State, host: Host, command: str, timeout: int, stdin: str | None = None) -> Answer:
    through = nullcontext() if stdin is not None else held.asked()
    with through, gevent.Timeout(timeout + TIMEOUT, TimeoutError("the connection is stuck")):
        done, output = host.run_shell_command(_line(command), **_arguments(state, host, timeout, stdin))
    return Answer(output.stdout, "" if done else output.stderr.strip() or _last_line(host, output))


def _last_line(host: Host, output: CommandOutput) -> str:
    """What is known of a command that failed and printed no error: in a terminal, its errors are among its output."""
    lines = [line.strip() for line in output.stdout_lines if line.strip()] if host.data.get("_get_pty") else []
    return lines[-1] if lines else "the command failed"


def _message(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _line(command: str) -> str:
    return f"sh -c {shlex.quote(command)}"


def _arguments(state: State, host: Host, timeout: int, stdin: str | None) -> Mapping[str, object]:
    known, _ = arguments.pop_global_arguments(state, host, {})
    wanted = {key: value for key, value in known.items() if key in arguments.CONNECTOR_ARGUMENT_KEYS}
    return wanted | {"_timeout": timeout} | ({} if stdin is None else {"_stdin": stdin})
