"""Commands on hosts whose sudo wants a terminal (`_get_pty = True`), in a real one behind an SSH server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paramiko
import pytest
from pyinfra.api import Config, Host, Inventory, State
from pyinfra.connectors.ssh import SSHConnector
from pyinfra.context import ctx_config, ctx_inventory, ctx_state

from barewind.hosts import shell, terminal
from tests.support.terminal_server import connected

pytestmark = pytest.mark.slow

LONG = '{"secret": "' + "x" * 200_000 + '"}\n'  # in one line: a terminal as such takes 4095 bytes of it


@pytest.fixture(scope="module")
def client() -> Iterator[paramiko.SSHClient]:
    with connected() as client:
        yield client


@pytest.fixture
def host(
    client: paramiko.SSHClient, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[tuple[State, Host]]:
    for owner, name in ((paramiko.Channel, "get_pty"), (SSHConnector, "run_shell_command")):
        monkeypatch.setattr(owner, name, getattr(owner, name))  # undone afterwards
    terminal.install()
    data: dict[str, Any] = {"_get_pty": True} | getattr(request, "param", {})
    inventory = Inventory((["gpu1"], data))
    state = State(inventory, Config())
    with ctx_config.use(state.config), ctx_state.use(state), ctx_inventory.use(inventory):
        host = inventory.get_host("gpu1")
        connector: Any = host.connector
        host.connected, connector.client = True, client
        yield state, host


@pytest.mark.parametrize(
    ("command", "output"),
    [
        ("tty > /dev/null && echo terminal", "terminal"),
        ("printf 'a\\nb\\n'", "a\nb"),
        ("printf 'a\\r\\nb\\r\\n'", "a\nb"),  # a carriage return at the end of a line is no part of it
        ("printf 'a\\rb\\n'", "a\rb"),
    ],
)
def test_lines_end_as_they_do_without_a_terminal(host: tuple[State, Host], command: str, output: str) -> None:
    assert shell.run(*host, command) == shell.Answer(output, "")


@pytest.mark.parametrize("text", ["one line\n", "a\n\nb\n", LONG, "\x03\x04 tab\tü\r\n", "no end"], ids=range(5))
def test_input_arrives_as_it_is_ends_and_is_not_echoed(host: tuple[State, Host], tmp_path: Path, text: str) -> None:
    answer = shell.run(*host, f"cat > {tmp_path}/got && echo done", stdin=text)
    assert answer == shell.Answer("done", "")
    assert (tmp_path / "got").read_bytes().decode() == text if text.endswith("\n") else f"{text}\n"


def test_what_a_command_says_when_it_fails_is_told(host: tuple[State, Host]) -> None:
    """A terminal has one output for both: its last line is the reason."""
    assert shell.run(*host, "echo looks; echo 'no such unit' >&2; exit 4").problem == "no such unit"
    assert shell.run(*host, "exit 4").problem == "the command failed"


@pytest.mark.parametrize("host", [{"_get_pty": False}], indirect=True)
def test_hosts_without_a_terminal_are_as_ever(host: tuple[State, Host], tmp_path: Path) -> None:
    assert shell.run(*host, "printf 'a\\r\\nb\\n'").output == "a\r\nb"
    assert shell.run(*host, f"cat > {tmp_path}/got", stdin=LONG).problem == ""
    assert (tmp_path / "got").read_text() == LONG
