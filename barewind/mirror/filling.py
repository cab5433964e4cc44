"""The way to fill a mirror of ours: its writable registry, which runs while it is needed and answers on its own host alone."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from barewind.errors import BarewindError
from barewind.hosts.reach import Hosts
from barewind.mirror.contents import Mirror
from barewind.mirror.plan import FILL_PORT, FILL_UNIT, PROGRAM
from barewind.registry.dialed import Dial

_START = 700  # seconds: it may have to wait until the disk is freed
_ATTEMPTS = 2  # one that was there for somebody else may end just as we come
# The one who is connected by SSH opens the connections; root is let in anyhow.
_COMMAND = (
    f"systemctl cat {FILL_UNIT} >/dev/null 2>&1 || "
    "{ echo 'not set up for this; run: pyinfra INVENTORY barewind.tasks.steps.mirror.serve' >&2; exit 1; }; "
    f"systemctl start {FILL_UNIT} || {{ journalctl -u {FILL_UNIT} -n 5 --no-pager -o cat >&2; exit 1; }}; "
    f'{PROGRAM} admit "${{SUDO_UID:-0}}"'
)


@contextmanager
def filling(mirror: Mirror, inventory_file: str, data: Iterable[str] = ()) -> Iterator[Mirror]:
    """A mirror that can be written to: over SSH if a host of the group `mirrors` runs it, otherwise as it is.

    The writable registry ends by itself some seconds after the last connection to it, so also when this process is killed.

    Raises:
        BarewindError: the host cannot be reached, or its registry does not start.
    """
    if mirror.host is None:
        yield mirror
        return
    hosts = Hosts(inventory_file, data)
    dial, connection = _open(hosts, mirror.host)
    with connection:  # as long as it is open, the registry runs
        yield replace(mirror, dial=dial)


def _open(hosts: Hosts, name: str) -> tuple[Dial, socket.socket]:
    problem = ""
    for _ in range(_ATTEMPTS):
        _, failure = hosts.ask({name: _COMMAND}, timeout=_START)[name]
        if failure:
            raise BarewindError(f"{name}: the mirror cannot be filled: {failure}")
        dial = hosts.dialer(name, ("127.0.0.1", FILL_PORT))
        try:
            return dial, dial()
        except OSError as error:
            problem = str(error)
    raise BarewindError(f"{name}: the mirror cannot be filled: {problem}; sshd must allow it (AllowTcpForwarding)")
