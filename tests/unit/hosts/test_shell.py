"""Commands on a host outside of pyinfra's order: what reaches the host's SSH server."""

from __future__ import annotations

import io
import shlex
from types import SimpleNamespace
from typing import Any

import gevent
import pytest
from paramiko.ssh_exception import ChannelException
from pyinfra.api import Config, Host, Inventory, State
from pyinfra.context import ctx_config, ctx_inventory, ctx_state

from barewind.hosts import shell


class Channel(io.BytesIO):
    """One end of a command that ends well at once; what is written to it is kept."""

    def __init__(self, prints: bytes = b"") -> None:
        super().__init__(prints)
        self.channel = SimpleNamespace(recv_exit_status=lambda: 0)
        self.kept = b""

    def close(self) -> None:
        self.kept = self.kept or self.getvalue()
        super().close()


class Client:
    """An SSH client whose server runs nothing."""

    def __init__(self) -> None:
        self.commands: list[str] = []
        self.stdin = Channel()

    def exec_command(self, command: str, *, get_pty: bool) -> tuple[Channel, Channel, Channel]:
        assert not get_pty  # a terminal would echo what is written
        self.commands.append(command)
        self.stdin = Channel()
        return self.stdin, Channel(b"done\n"), Channel()


def connected(inventory: Inventory, name: str, client: object) -> Host:
    """A host whose SSH connection is `client`."""
    host = inventory.get_host(name)
    connector: Any = host.connector
    host.connected, connector.client = True, client
    return host


@pytest.mark.parametrize("text", ["one line\n", "line\n" * 100_000])
@pytest.mark.parametrize("data", [{"_sudo": True}, {"_sudo": True, "_sudo_user": "root"}, {}])
def test_standard_input_reaches_the_command_through_sudo_and_is_in_no_command_line(
    data: dict[str, Any], text: str
) -> None:
    inventory = Inventory((["gpu1"], data))
    state, client = State(inventory, Config()), Client()
    host = connected(inventory, "gpu1", client)
    with ctx_config.use(state.config), ctx_state.use(state), ctx_inventory.use(inventory):
        answer = shell.run(state, host, "base64 -d | tar -xz", stdin=text)
    assert (answer.output, answer.problem) == ("done", "")
    assert client.stdin.kept.decode() == text
    (command,) = client.commands
    words = shlex.split(command)
    assert (words[0] == "sudo") is bool(data)
    assert shlex.split(words[-1]) == ["sh", "-c", "base64 -d | tar -xz"]


class Sshd:
    """An SSH client whose server refuses an eleventh session, as sshd does (MaxSessions)."""

    def __init__(self) -> None:
        self.open = self.most = 0

    def exec_command(self, _: str, **__: bool) -> tuple[Channel, Channel, Channel]:
        self.open += 1
        self.most = max(self.most, self.open)
        if self.open > 10:
            raise ChannelException(2, "Connect failed")
        gevent.sleep()
        self.open -= 1
        return Channel(), Channel(b"done\n"), Channel()


def test_many_that_ask_one_host_at_once_all_get_an_answer() -> None:
    inventory = Inventory((["lb1"], {}))
    state, client = State(inventory, Config()), Sshd()
    host = connected(inventory, "lb1", client)
    with ctx_config.use(state.config), ctx_state.use(state), ctx_inventory.use(inventory):
        asking = [gevent.spawn(shell.run, state, host, f"echo {number}") for number in range(40)]
        answers = [greenlet.get() for greenlet in asking]
    assert {answer.problem for answer in answers} == {""}
    assert 1 < client.most < 10  # pyinfra's own command, and the lease's, have a place
