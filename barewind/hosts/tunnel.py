"""Ways through the SSH connection to what listens on a host: a port of this machine, or sockets of this process alone."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import gevent
from gevent.server import StreamServer
from paramiko.ssh_exception import SSHException
from pyinfra.api import Host

from barewind.errors import BarewindError

_CHUNK = 65536  # bytes
_OPEN = 30  # seconds until the host has connected
_REFUSED = (SSHException, OSError, EOFError, AttributeError)  # no transport is left of a connection that has ended


@contextmanager
def tunnel(host: Host, url: str) -> Iterator[str]:
    """The base URL under which this machine reaches what the host itself reaches as `url`.

    Raises:
        BarewindError: the host is reached by other means than SSH.
    """
    if _is_local(host):
        yield url
        return
    client = _client(host, "key 'evaluation' needs a host that is reached by SSH; leave it out")
    wanted = urlsplit(url)
    address = (wanted.hostname or "", wanted.port or 80)

    def serve(local: Any, peer: tuple[str, int]) -> None:
        try:
            channel = client.get_transport().open_channel("direct-tcpip", address, peer, timeout=_OPEN)
        except _REFUSED:
            local.close()  # the command sees a connection that ends, and tells what it misses
            return
        _join(local, channel)

    server = StreamServer(("127.0.0.1", 0), serve)
    server.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.stop()


def dialer(host: Host, address: tuple[str, int]) -> Callable[[], socket.socket]:
    """A function that opens a connection to what the host itself reaches at `address`, as a socket that only this process has.

    It raises OSError where the host does not connect. The host must be connected to.

    Raises:
        BarewindError: the host is reached by other means than SSH.
    """
    if _is_local(host):
        return lambda: socket.create_connection(address, timeout=_OPEN)
    client = _client(host, "is reached by other means than SSH: run this where SSH leads to it, or on the host itself")

    def dial() -> socket.socket:
        try:
            channel = client.get_transport().open_channel("direct-tcpip", address, ("127.0.0.1", 0), timeout=_OPEN)
        except _REFUSED as error:
            raise ConnectionRefusedError(
                f"{host.name} does not connect to {address[0]}:{address[1]} ({error})"
            ) from error
        ours, other = socket.socketpair()
        gevent.spawn(_join, other, channel)
        return ours

    return dial


def _is_local(host: Host) -> bool:
    return getattr(host.connector, "client", None) is None and host.name.startswith("@local")


def _client(host: Host, problem: str) -> Any:
    client = getattr(host.connector, "client", None)
    if client is None:
        raise BarewindError(f"{host.name}: {problem}")
    return client


def _join(local: Any, channel: Any) -> None:
    """Pass bytes both ways until both ends have no more."""
    with local:
        gevent.joinall([gevent.spawn(_pump, local, channel), gevent.spawn(_pump, channel, local)])
        channel.close()


def _pump(source: Any, sink: Any) -> None:
    """Pass bytes on until the source has no more, and tell the sink."""
    with suppress(OSError, EOFError):
        while data := source.recv(_CHUNK):
            sink.sendall(data)
    with suppress(OSError, EOFError):
        sink.shutdown(socket.SHUT_WR)
