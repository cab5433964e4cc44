"""HTTP/1.1 as uvicorn speaks it: keep-alive, bodies of known or unknown length, answers whole or as a stream."""

import asyncio
import email.utils
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus

LONGEST_HEAD = 65536  # bytes
GARBAGE = b"Invalid HTTP request received."

Headers = list[tuple[str, str]]


@dataclass
class Request:
    """One request. Header names are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    persistent: bool  # whether the connection stays open after the answer
    body: bytes = b""
    gone: list[Callable[[], None]] = field(default_factory=list)  # called when the client leaves before the answer


class Malformed(Exception):
    """This is not HTTP."""


class Connection(asyncio.Protocol):
    """One client's connection: a request, its answer, the next request."""

    def __init__(
        self, app: Callable[[Request, "Connection"], None], keep_alive: float, open_: set["Connection"]
    ) -> None:
        self._app = app
        self._keep_alive = keep_alive
        self._open = open_
        self._buffer = bytearray()
        self._request: Request | None = None  # in hand: read whole, not yet answered
        self._head: Request | None = None  # its body is still to come
        self._timer: asyncio.TimerHandle | None = None
        self._chunks: list[bytes] = []  # of a body of unknown length, so far
        self.closing = False  # after the answer in hand
        self.peer = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has come."""
        if not isinstance(transport, asyncio.Transport):
            raise TypeError("not a stream")
        self.transport = transport
        address = transport.get_extra_info("peername") or ("", 0)
        self.peer = f"{address[0]}:{address[1]}"
        self._open.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        """It has gone."""
        del error
        self._open.discard(self)
        self._stop_timer()
        if self._request is not None:
            for gone in self._request.gone:
                gone()
            self._request = None

    def data_received(self, data: bytes) -> None:
        """Some bytes have come."""
        self._stop_timer()
        self._buffer += data
        self._advance()

    def answer(self, status: int, headers: Headers, body: bytes = b"") -> None:
        """Send a whole answer."""
        without_body = self._request is not None and self._request.method == "HEAD"
        self._send_head(status, [("content-length", str(len(body))), *headers], b"" if without_body else body)
        self._finish()

    def begin(self, status: int, headers: Headers) -> None:
        """Begin an answer of unknown length."""
        self._send_head(status, [*headers, ("transfer-encoding", "chunked")])

    def send(self, data: bytes) -> None:
        """More of it."""
        if self._request is not None:
            self.transport.write(b"%x\r\n%b\r\n" % (len(data), data))

    def end(self) -> None:
        """The end of it."""
        if self._request is not None:
            self.transport.write(b"0\r\n\r\n")
            self._finish()

    def close_when_answered(self) -> None:
        """Close now if nothing is in hand, else after the answer."""
        self.closing = True
        if self._request is None:
            self.transport.close()

    def _advance(self) -> None:
        """Hand over the next request if it is there whole."""
        if self._request is not None or self.transport.is_closing():
            return
        try:
            if self._head is None:
                self._head = self._read_head()
            if self._head is None:
                return
            body = self._read_body(self._head)
        except (Malformed, ValueError):
            plain = [("content-type", "text/plain; charset=utf-8"), ("connection", "close")]
            self._send_head(400, [*plain, ("content-length", str(len(GARBAGE)))], GARBAGE)
            self.transport.close()
            return
        if body is None:
            return
        self._request, self._head = self._head, None
        self._request.body = body
        self._app(self._request, self)

    def _read_head(self) -> Request | None:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > LONGEST_HEAD or (b"\r\n" in self._buffer and b" HTTP/1." not in self._buffer):
                raise Malformed
            return None
        first, *lines = bytes(self._buffer[:end]).decode("latin-1").split("\r\n")
        del self._buffer[: end + 4]
        words = first.split(" ")
        if len(words) != 3 or words[2] not in ("HTTP/1.1", "HTTP/1.0"):
            raise Malformed
        headers: dict[str, str] = {}
        for line in lines:
            name, colon, value = line.partition(":")
            if not colon:
                raise Malformed
            headers[name.strip().lower()] = value.strip()
        wish = headers.get("connection", "").lower()
        request = Request(words[0], words[1].partition("?")[0], headers, words[2] == "HTTP/1.1" and wish != "close")
        if headers.get("expect", "").lower() == "100-continue":
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return request

    def _read_body(self, request: Request) -> bytes | None:
        """The body, or None while some of it is missing."""
        if request.headers.get("transfer-encoding", "").lower() == "chunked":
            return self._read_chunks()
        length = int(request.headers.get("content-length") or 0)
        if len(self._buffer) < length:
            return None
        body = bytes(self._buffer[:length])
        del self._buffer[:length]
        return body

    def _read_chunks(self) -> bytes | None:
        while (line := self._buffer.find(b"\r\n")) >= 0:
            size = int(bytes(self._buffer[:line]).partition(b";")[0], 16)
            start, end = line + 2, line + 2 + size
            if len(self._buffer) < end + 2:
                return None
            if size:
                self._chunks.append(bytes(self._buffer[start:end]))
            del self._buffer[: end + 2]
            if size == 0:
                body = b"".join(self._chunks)
                self._chunks.clear()
                return body
        return None

    def _send_head(self, status: int, headers: Headers, body: bytes = b"") -> None:
        request = self._request
        fields = [("date", email.utils.formatdate(time.time(), usegmt=True)), ("server", "uvicorn"), *headers]
        if request is not None and (not request.persistent or self.closing):
            fields.append(("connection", "close"))
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
        self.transport.write(f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n{lines}\r\n".encode("latin-1") + body)

    def _finish(self) -> None:
        request, self._request = self._request, None
        if self.closing or (request is not None and not request.persistent):
            self.transport.close()
            return
        self._timer = asyncio.get_running_loop().call_later(self._keep_alive, self.transport.close)
        if self._buffer:
            self._stop_timer()
            asyncio.get_running_loop().call_soon(self._advance)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
