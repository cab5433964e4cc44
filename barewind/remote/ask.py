"""What this host asks other hosts: news, and parts by HTTP range."""

from __future__ import annotations

import hashlib
import http.client
import json
from typing import Any
from urllib.parse import quote

from barewind.remote.job import Part, Peer
from barewind.remote.rate import Rate
from barewind.remote.store import Store

CHUNK = 2**18  # bytes received at a time


class AskError(Exception):
    """Another host did not answer, or not as it should."""


class News:
    """What one other host tells, a connection kept open; `patience` in seconds. For one thread."""

    def __init__(self, peer: Peer, me: Peer, patience: float) -> None:
        self._connection = _connect(peer, me, patience)
        self.run = ""
        self._since = 0
        self._state = -1

    def next(self) -> tuple[dict[str, Any], bool]:
        """What is new, as soon as there is something or after a few seconds; and whether the host has begun anew.

        Raises:
            AskError: it does not answer.
        """
        try:
            self._connection.request("GET", f"/news?run={quote(self.run)}&since={self._since}&state={self._state}")
            said: dict[str, Any] = json.loads(self._connection.getresponse().read())
            anew = bool(self.run) and said["run"] != self.run
            self.run, self._since, self._state = said["run"], int(said["count"]), int(said["state"])
        except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
            self._connection.close()
            raise AskError(str(error) or type(error).__name__) from error
        return said, anew


class Parts:
    """Fetches parts from other hosts; `patience` in seconds without a byte. For one thread."""

    def __init__(self, me: Peer, rate: Rate, patience: float) -> None:
        self._me, self._patience = me, patience
        self._rate = rate
        self._connections: dict[str, http.client.HTTPConnection] = {}
        self._buffer = memoryview(bytearray(CHUNK))

    def fetch(self, part: Part, peer: Peer, store: Store, received: Any) -> str:
        """Write a part to the store; `received(bytes)` is called as it comes. The SHA-256 of what came.

        Raises:
            AskError: it could not be had from that host.
        """
        connection = self._connections.get(peer.name)
        if connection is None:
            connection = self._connections[peer.name] = _connect(peer, self._me, self._patience)
        try:
            connection.request(
                "GET",
                f"/files/{quote(part.key, safe='')}/{quote(part.file)}",
                headers={"Range": f"bytes={part.start}-{part.end - 1}"},
            )
            response = connection.getresponse()
            if response.status != 206:
                response.read()
                raise AskError(f"{peer.name} answers {response.status}")
            return self._receive(response, part, store, received)
        except (OSError, http.client.HTTPException) as error:
            self._connections.pop(peer.name).close()
            raise AskError(f"{peer.name}: {str(error) or type(error).__name__}") from error

    def _receive(self, response: http.client.HTTPResponse, part: Part, store: Store, received: Any) -> str:
        digest = hashlib.sha256()
        at = 0
        while at < part.size:
            count = response.readinto(self._buffer[: min(CHUNK, self._rate.piece, part.size - at)])
            if not count:
                raise ConnectionError("the connection ended early")
            self._rate.take(count)
            data = self._buffer[:count]
            digest.update(data)
            store.write(part, at, data)
            at += count
            received(count)
        return digest.hexdigest()


def _connect(peer: Peer, me: Peer, timeout: float) -> http.client.HTTPConnection:
    """From the address that the others know this host by: their firewalls let no other in."""
    return http.client.HTTPConnection(peer.address, peer.port, timeout=timeout, source_address=(me.address, 0))
