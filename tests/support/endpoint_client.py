"""A client of the endpoint that says exactly what a test wants it to say."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass

CHAT = "/v1/chat/completions"


@dataclass(frozen=True)
class Answer:
    """What a client got; names of headers are in small letters."""

    status: int
    headers: dict[str, str]
    body: str

    @property
    def code(self) -> str:
        """The code of an error in OpenAI's form."""
        error = json.loads(self.body)["error"]
        assert set(error) == {"message", "type", "code"}
        assert self.headers["content-type"] == "application/json"
        return str(error["code"])


def send(port: int, text: str, *, family: str = "127.0.0.1", source: str = "") -> Answer:
    """Send bytes as they are and read until the end; `source`: from which address of this machine."""
    with socket.create_connection((family, port), timeout=60, source_address=(source, 0) if source else None) as client:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # answered before all of it was read
            client.sendall(text.encode())
        return read(client)


def read(client: socket.socket) -> Answer:
    """The answer of a connection that ends with it, by a reset too: so it ends if not all that was sent was read.

    Raises:
        ConnectionError: there is none.
    """
    answer = b""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        while part := client.recv(65536):
            answer += part
    if not answer:
        raise ConnectionError
    head, _, body = answer.decode().partition("\r\n\r\n")
    status, *lines = head.split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Answer(int(status.split()[1]), headers, body)


def ask(port: int, target: str, method: str = "GET", *headers: str, body: str | None = None, **where: str) -> Answer:
    """Send a request that ends its connection."""
    lines = [f"{method} {target} HTTP/1.1", "Host: lb", "Connection: close", *headers]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return send(port, "\r\n".join(lines) + "\r\n\r\n" + (body or ""), **where)


def headers(length: int, target: str = CHAT) -> str:
    """The beginning of a POST with a body of so many bytes."""
    return f"POST {target} HTTP/1.1\r\nHost: lb\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"


class Trickle:
    """Connections of one address that each begin a POST, send some of its body at once and the rest a byte at a time."""

    def __init__(self, port: int, count: int, *, length: int, first: int = 1, source: str = "127.0.0.2") -> None:
        self._clients = []
        for _ in range(count):
            with contextlib.suppress(OSError):  # refused: it has too many
                client = socket.create_connection(("127.0.0.1", port), timeout=60, source_address=(source, 0))
                client.sendall(headers(length).encode())
                self._clients.append(client)
        self._first = first
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._send, daemon=True)

    def __enter__(self) -> Trickle:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._end.set()
        self._thread.join(60)
        for client in self._clients:
            client.close()

    def answers(self) -> Iterator[Answer | None]:
        """What each connection was answered at last; None where it was just ended."""
        for client in self._clients:
            try:
                yield read(client)
            except OSError:
                yield None

    def _send(self) -> None:
        begun: list[socket.socket] = []
        for client in self._clients:
            with contextlib.suppress(OSError):
                client.sendall(b"x" * self._first)
                begun.append(client)
        while not self._end.wait(0.1):
            for client in begun:
                with contextlib.suppress(OSError):
                    client.sendall(b"x")
