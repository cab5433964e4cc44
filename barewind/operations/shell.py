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
_connecting: WeakKeyDictionary[Host, RLock] = WeakKeyDictionary()


@dataclass(frozen=True)
class Answer:
    """What a command said; `problem` is empty when it succeeded."""

    output: str
    problem: str


def run(state: State, host: Host, command: str, *, timeout: int = TIMEOUT) -> Answer:
    """Run a shell command with the privileges that the host's data give; connects first if need be."""
    try:
        with _connecting.setdefault(host, RLock()):
            host.connect(show_errors=False, raise_exceptions=True)
        with gevent.Timeout(timeout + TIMEOUT, TimeoutError("the connection is stuck")):
            done, output = host.run_shell_command(_line(command), **_arguments(state, host, timeout))
    except (ConnectError, SSHException, TimeoutError, OSError, EOFError) as error:
        host.disconnect()
        return Answer("", str(error) or type(error).__name__)
    return Answer(output.stdout, "" if done else output.stderr.strip() or "the command failed")


def _line(command: str) -> str:
    return f"sh -c {shlex.quote(command)}"


def _arguments(state: State, host: Host, timeout: int) -> Mapping[str, object]:
    wanted, _ = pop_global_arguments(state, host, {})
    return {key: value for key, value in wanted.items() if key in CONNECTOR_ARGUMENT_KEYS} | {"_timeout": timeout}
