"""What every SSH connection's socket is set to, and what is said when one ends."""

from __future__ import annotations

import socket

import paramiko
import pytest

from barewind.hosts.connection import tune_connections


def test_ssh_connections_send_at_once_and_end_when_their_host_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("__init__", "open_channel", "_active_check_timeout"):
        monkeypatch.setattr(paramiko.Transport, name, getattr(paramiko.Transport, name))  # undone afterwards
    tune_connections()
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        paramiko.Transport(client)
        assert client.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert client.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert client.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 15
        assert client.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 60_000
        assert client.gettimeout() == 1  # paramiko wakes so often to look around


def test_a_connection_that_ends_as_a_command_begins_is_an_error_of_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    def ended(*_: object) -> None:
        raise EOFError

    for name in ("__init__", "_active_check_timeout"):
        monkeypatch.setattr(paramiko.Transport, name, getattr(paramiko.Transport, name))  # undone afterwards
    monkeypatch.setattr(paramiko.Transport, "open_channel", ended)
    tune_connections()
    with pytest.raises(paramiko.SSHException, match="the connection has ended"):
        paramiko.Transport.open_channel(paramiko.Transport.__new__(paramiko.Transport), "session")
