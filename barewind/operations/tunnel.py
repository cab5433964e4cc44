"""A port of this machine that leads to an engine, through the SSH connection that its host has already."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import gevent
from gevent.server import StreamServer
from paramiko.ssh_exception import SSHException
from pyinfra.api import Host

from barewind.errors import BarewindError

_CHUNK = 65536  # bytes
_OPEN = 30  # seconds until the host has connected to the engine


@contextmanager
def tunnel(host: Host, url: str) -> Iterator[str]:
    """The base URL under which this machine reaches what the host itself reaches as `url`.

    Raises:
        BarewindError: the host is reached by other means than SSH.
    """
    client = getattr(host.connector, "client", None)
    if client is None:
        if host.name.startswith("@local"):
            yield url
            return
        raise BarewindError(f"{host.name}: key 'evaluation' needs a host that is reached by SSH; leave it out")
    wanted = urlsplit(url)
    address = (wanted.hostname or "", wanted.port or 80)

    def serve(local: Any, peer: tuple[str, int]) -> None:
        try:
            channel = client.get_transport().open_channel("direct-tcpip", address, peer, timeout=_OPEN)
        except (SSHException, OSError, EOFError, AttributeError):
            local.close()  # the command sees a connection that ends: it says what it missed
            return
        with local:
            gevent.joinall([gevent.spawn(_pump, local, channel), gevent.spawn(_pump, channel, local)])
            channel.close()

    server = StreamServer(("127.0.0.1", 0), serve)
    server.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.stop()


def _pump(source: Any, sink: Any) -> None:
    """Pass bytes on until one side has no more, and say so to the other."""
    with suppress(OSError, EOFError):
        while data := source.recv(_CHUNK):
            sink.sendall(data)
    with suppress(OSError, EOFError):
        sink.shutdown(socket.SHUT_WR)
