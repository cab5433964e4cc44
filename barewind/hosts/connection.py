"""SSH connections of this process, which pyinfra makes with paramiko.

Their sockets get TCP_NODELAY, which paramiko does not set: each command would wait about 44 ms for a delayed acknowledgement.
They also notice that a host is gone: a command on a host that has lost its power would end only when its own time is over,
which may take hours. A connection that waits looks around once a second, paramiko's ten times: a thousand of them took more
than a core. Only some handshakes are under way at a time, since each costs this machine some 30 ms: a thousand at once would
exceed their time limits.
"""

from __future__ import annotations

import functools
import socket
from typing import Any

import paramiko
from gevent.lock import BoundedSemaphore

HANDSHAKES = 64  # at a time; hosts that do not answer hold none, for they do not come so far

# A host that acknowledges nothing for a minute is gone: asked after 15 s of silence, then every 15 s; the last in milliseconds.
_GONE = {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 60_000}

_LOOK = 1.0  # seconds; what arrives is read at once all the same


def tune_connections() -> None:
    """Make every SSH connection of this process send small packets at once, end when its host has long been silent, and say so
    when it ends just as a command begins: paramiko then raises what pyinfra takes for an error of its own."""
    connect, open_channel = paramiko.Transport.__init__, paramiko.Transport.open_channel
    start_client, places = paramiko.Transport.start_client, BoundedSemaphore(HANDSHAKES)

    @functools.wraps(connect)
    def connect_tuned(self: paramiko.Transport, sock: Any, *args: Any, **kwargs: Any) -> None:
        connect(self, sock, *args, **kwargs)
        if isinstance(self.sock, socket.socket):  # a jump host's channel is none
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for name, value in _GONE.items():
                if hasattr(socket, name):  # other systems than Linux lack some
                    self.sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

    @functools.wraps(open_channel)
    def open_channel_or_say(self: paramiko.Transport, *args: Any, **kwargs: Any) -> paramiko.Channel:
        try:
            return open_channel(self, *args, **kwargs)
        except EOFError:
            raise paramiko.SSHException("the connection has ended") from None

    @functools.wraps(start_client)
    def start_client_in_turn(self: paramiko.Transport, *args: Any, **kwargs: Any) -> None:
        with places:
            start_client(self, *args, **kwargs)

    paramiko.Transport._active_check_timeout = _LOOK  # type: ignore[attr-defined]
    paramiko.Transport.start_client = start_client_in_turn  # type: ignore[method-assign]
    paramiko.Transport.__init__ = connect_tuned  # type: ignore[method-assign]
    paramiko.Transport.open_channel = open_channel_or_say  # type: ignore[method-assign]
