"""What every SSH connection's socket is set to."""

from __future__ import annotations

import socket

import paramiko
import pytest

from barewind import pyinfra_hooks


def test_ssh_connections_send_at_once_and_end_when_their_host_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paramiko.Transport, "__init__", paramiko.Transport.__init__)  # undone afterwards
    pyinfra_hooks.tune_sockets()
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        paramiko.Transport(client)
        assert client.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert client.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert client.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 15
        assert client.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 60_000
