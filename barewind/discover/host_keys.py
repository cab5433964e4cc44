"""Host keys that are not known yet: read from the hosts, to be compared by a person, and kept as ssh keeps them."""

from __future__ import annotations

import base64
import hashlib
import os
import socket
from dataclasses import dataclass
from pathlib import Path

from paramiko import HostKeys, PKey, SSHException, Transport
from paramiko.hostkeys import HostKeyEntry
from pyinfra.api.exceptions import PyinfraError
from pyinfra.connectors.sshuserclient.client import SSHClient

from barewind.discover.targets import Target
from barewind.errors import BarewindError

_SSH_PORT = 22
_TIMEOUT = 10  # seconds to connect, and for the handshake


@dataclass(frozen=True)
class UnknownKey:
    """A host's key that known_hosts does not have; `name` is what ssh calls the host there."""

    name: str
    key: PKey

    @property
    def fingerprint(self) -> str:
        """As `ssh-keygen -l` prints it."""
        digest = base64.b64encode(hashlib.sha256(self.key.asbytes()).digest()).decode().rstrip("=")
        return f"{self.key.get_name().removeprefix('ssh-').upper()} SHA256:{digest}"

    @property
    def file(self) -> str:
        """Where the host's sshd has it, unless it is set up in another way."""
        kind = self.key.get_name().removeprefix("ssh-").partition("-")[0]
        return f"/etc/ssh/ssh_host_{kind}_key.pub"


def unknown(target: Target, known_hosts: Path) -> UnknownKey | None:
    """The key of a host that `known_hosts` has none for, asked through the jump hosts of the SSH client's configuration.

    Raises:
        BarewindError: the host does not answer, or is no SSH server.
    """
    try:
        address, options, *_ = SSHClient().parse_config(target.name, {"port": target.ssh.get("ssh_port", _SSH_PORT)})
        name = address if options["port"] == _SSH_PORT else f"[{address}]:{options['port']}"
        if _kept(known_hosts).lookup(name) is not None:
            return None
        opened = options.get("sock") or socket.create_connection((address, options["port"]), _TIMEOUT)
        transport = Transport(opened)
        try:
            transport.start_client(timeout=_TIMEOUT)
            return UnknownKey(name, transport.get_remote_server_key())
        finally:
            transport.close()
    except OSError as error:
        raise BarewindError(f"{target.name}: {error.strerror or error}") from error
    except (SSHException, PyinfraError, EOFError) as error:
        raise BarewindError(f"{target.name}: {error or 'the connection has ended'}") from error


def keep(keys: list[UnknownKey], known_hosts: Path) -> None:
    """Add keys to `known_hosts`, which is made if need be, for its owner alone.

    Raises:
        BarewindError: it cannot be written.
    """
    lines = [HostKeyEntry([each.name], each.key).to_line() or "" for each in keys]
    try:
        known_hosts.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(known_hosts, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "r+") as file:
            held = file.read()
            file.write("\n" * (held != "" and not held.endswith("\n")) + "".join(lines))
    except OSError as error:
        raise BarewindError(f"{known_hosts}: {error.strerror}; name another file with --known-hosts.") from error


def _kept(known_hosts: Path) -> HostKeys:
    return HostKeys(str(known_hosts)) if known_hosts.is_file() else HostKeys()
