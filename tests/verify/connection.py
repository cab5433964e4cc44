"""testinfra over strict SSH: known host keys only, small packets sent at once."""

from __future__ import annotations

import functools
import socket
from pathlib import Path
from typing import Any

import paramiko
import pytest
from pyinfra.connectors.sshuserclient.client import SSHClient
from testinfra.backend.paramiko import ParamikoBackend
from testinfra.host import Host

from barewind.spec.site import SSH_PORT

_TIMEOUT = 15  # seconds to connect


class StrictBackend(ParamikoBackend):  # type: ignore[misc]  # testinfra has no types: its class is Any
    """testinfra's paramiko backend takes any host key; this one takes those in known_hosts, as the deploy does."""

    def __init__(self, name: str, data: dict[str, Any]):
        super().__init__(name, sudo=bool(data.get("_sudo")))
        self._name = name
        self._data = data
        self._lost = ""  # why there is no way to the host

    @functools.cached_property
    def client(self) -> paramiko.SSHClient:
        """The connection; a host that cannot be connected to is tried once, and told once."""
        if self._lost:
            pytest.skip(self._lost)  # what has failed once with the next step is not told for each check again
        try:
            return self._connected()
        except (OSError, paramiko.SSHException) as error:
            self._lost = f"{self._name}: cannot be connected to ({error}). Next: barewind doctor INVENTORY"
            pytest.fail(self._lost, pytrace=False)

    def _connected(self) -> paramiko.SSHClient:
        """A connection as the deploy's: keys of the inventory, then the SSH client's configuration, jump hosts included."""
        data = self._data
        options = {"port": int(data.get("ssh_port", SSH_PORT)), "username": data.get("ssh_user"), "timeout": _TIMEOUT}
        if key := data.get("ssh_key"):  # `pkey` has pyinfra leave the configuration's keys alone
            options |= {"key_filename": str(Path(key).expanduser()), "pkey": None}
            options |= {"passphrase": data.get("ssh_key_password")}
        address, options, _, _, known, *_ = SSHClient().parse_config(data.get("ssh_hostname", self._name), options)
        client = paramiko.SSHClient()
        client.set_missing_host_key_policy(paramiko.RejectPolicy())
        for file in [data["ssh_known_hosts_file"]] if "ssh_known_hosts_file" in data else known:
            if (path := Path(file).expanduser()).is_file():
                client.load_system_host_keys(str(path))
        if "sock" not in options:
            options["sock"] = socket.create_connection((address, options["port"]), timeout=_TIMEOUT)
            options["sock"].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.connect(address, **options)
        return client


def reachable(address: str, port: int, seconds: float = 2) -> bool:
    """Whether this machine gets a connection to a TCP port."""
    try:
        socket.create_connection((address, port), timeout=seconds).close()
    except OSError:
        return False
    return True


def connect(name: str, data: dict[str, Any]) -> Host:
    """A testinfra host of the inventory; it connects at the first command."""
    return Host(StrictBackend(name, data))
