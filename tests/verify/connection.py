"""testinfra over strict SSH: known host keys only, small packets sent at once."""

from __future__ import annotations

import functools
import socket
from pathlib import Path
from typing import Any

import paramiko
from testinfra.backend.paramiko import ParamikoBackend
from testinfra.host import Host

_TIMEOUT = 15  # seconds to connect


class StrictBackend(ParamikoBackend):
    """testinfra's paramiko backend takes any host key; this one takes those in known_hosts, as the deploy does."""

    def __init__(self, name: str, data: dict[str, Any]):
        super().__init__(name, sudo=bool(data.get("_sudo")))
        self._data = data

    @functools.cached_property
    def client(self) -> paramiko.SSHClient:
        data = self._data
        client = paramiko.SSHClient()
        client.set_missing_host_key_policy(paramiko.RejectPolicy())
        client.load_system_host_keys(str(Path(data.get("ssh_known_hosts_file", "~/.ssh/known_hosts")).expanduser()))
        key = data.get("ssh_key")
        address = data.get("ssh_hostname", self.host.name)
        port = int(data.get("ssh_port", 22))
        sock = socket.create_connection((address, port), timeout=_TIMEOUT)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.connect(
            address,
            port=port,
            username=data.get("ssh_user"),
            key_filename=str(Path(key).expanduser()) if key else None,
            sock=sock,
            timeout=_TIMEOUT,
        )
        return client


def connect(name: str, data: dict[str, Any]) -> Host:
    """A testinfra host of the inventory; it connects at the first command."""
    return Host(StrictBackend(name, data))
