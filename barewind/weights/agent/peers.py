"""What this host asks other hosts for: news, and parts by HTTP range."""

from __future__ import annotations

import hashlib
import http.client
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from barewind.weights.agent.job import Part, Peer
from barewind.weights.agent.news import read_news
from barewind.weights.agent.rate import Rate
from barewind.weights.agent.rows import Row
from barewind.weights.agent.store import Store

CHUNK = 2**18  # bytes received at a time
ROW_HEADER = "Barewind-Row"  # of a request for news: name, beat and row of the host that asks
_CONNECT = 3.0  # seconds


class PeerError(Exception):
    """Another host did not answer, or not as it should. `full`: it is there, and has no room for a connection more."""

    def __init__(self, message: str, *, full: bool = False) -> None:
        super().__init__(message)
        self.full = full


class NewsClient:
    """News of one other host, over a connection that is kept open; `timeout` in seconds. For one thread."""

    def __init__(self, peer: Peer, me: Peer, timeout: float) -> None:
        self._connection = _connect(peer, me, timeout)
        self._name, self._timeout = me.name, timeout
        self._run = ""  # of the program there; another one when it was started anew
        self._since = 0
        self._state = -1
        self._told: tuple[int, int] | None = None  # order of the row that it knows of this host

    def next(self, row: Row, beat: int) -> tuple[dict[str, Any], bool]:
        """The news, as soon as there are any or after a few seconds; and whether the host has begun anew.

        + row, beat: what this host tells of itself

        Raises:
            PeerError: it does not answer.
        """
        own = [self._name, beat, None if row.order == self._told else row.plain()]
        try:
            _open(self._connection, self._timeout)
            self._connection.request(
                "GET",
                f"/news?run={quote(self._run)}&since={self._since}&state={self._state}",
                headers={ROW_HEADER: json.dumps(own, separators=(",", ":"))},
            )
            document: dict[str, Any] = json.loads(self._connection.getresponse().read())
            news = read_news(document)
            begun_anew = bool(self._run) and news["run"] != self._run
            self._run, self._since, self._state = news["run"], int(news["count"]), int(news["state"])
            self._told = row.order
        except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
            self.close()
            full = isinstance(error, http.client.RemoteDisconnected | ConnectionResetError)
            raise PeerError(str(error) or type(error).__name__, full=full) from error
        return news, begun_anew

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()


class PartClient:
    """Parts from other hosts, over one connection at a time; `timeout` in seconds without a byte. For one thread."""

    def __init__(self, me: Peer, rate: Rate, timeout: float) -> None:
        self._me, self._timeout = me, timeout
        self._rate = rate
        self._peer = ""  # the host at the other end
        self._connection: http.client.HTTPConnection | None = None
        self._buffer = memoryview(bytearray(CHUNK))

    def fetch(self, part: Part, peer: Peer, store: Store, received: Callable[[int], None]) -> str:
        """Write a part to the store, calling `received` with each number of bytes; returns the SHA-256 of what came.

        Raises:
            PeerError: that host did not send it.
        """
        try:
            response = self._ask(part, peer)
            if response.status != 206:
                response.read()
                raise PeerError(f"{peer.name} answers {response.status}")
            return self._receive(response, part, store, received)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            full = isinstance(error, http.client.RemoteDisconnected | ConnectionResetError)
            raise PeerError(f"{peer.name}: {str(error) or type(error).__name__}", full=full) from error

    def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _ask(self, part: Part, peer: Peer) -> http.client.HTTPResponse:
        if peer.name != self._peer:
            self.close()
        self._peer = peer.name
        path = f"/files/{quote(part.key, safe='')}/{quote(part.file)}"
        headers = {"Range": f"bytes={part.start}-{part.end - 1}"}
        if self._connection is not None:
            try:
                self._connection.request("GET", path, headers=headers)
                return self._connection.getresponse()
            except (ConnectionError, http.client.HTTPException):
                self.close()  # the other end made room for somebody else while nothing was asked of it
        self._connection = _connect(peer, self._me, self._timeout)
        _open(self._connection, self._timeout)
        self._connection.request("GET", path, headers=headers)
        return self._connection.getresponse()

    def _receive(
        self, response: http.client.HTTPResponse, part: Part, store: Store, received: Callable[[int], None]
    ) -> str:
        digest = hashlib.sha256()
        offset = 0
        while offset < part.size:
            count = response.readinto(self._buffer[: min(CHUNK, self._rate.piece, part.size - offset)])
            if not count:
                raise ConnectionError("the connection ended early")
            self._rate.take(count)
            data = self._buffer[:count]
            digest.update(data)
            store.write(part, offset, data)
            offset += count
            received(count)
        return digest.hexdigest()


def _connect(peer: Peer, me: Peer, timeout: float) -> http.client.HTTPConnection:
    """A connection from the address that the others know this host by: their firewalls let no other in."""
    return http.client.HTTPConnection(peer.address, peer.port, timeout=timeout, source_address=(me.address, 0))


def _open(connection: http.client.HTTPConnection, timeout: float) -> None:
    """Connect, if that is to be done; a host that is there needs no long time for that."""
    if connection.sock is not None:
        return
    connection.timeout = min(timeout, _CONNECT)
    connection.connect()
    connected: Any = connection.sock  # which is None in the eyes of the type checker, still
    connected.settimeout(timeout)
