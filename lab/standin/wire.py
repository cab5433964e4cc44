"""HTTP/1.1 as uvicorn serves it: keep-alive, answers whole or as a stream. The protocol is h11's."""

import asyncio
import email.utils
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus

import h11

LONGEST_HEAD = 65536  # bytes
GARBAGE = b"Invalid HTTP request received."

Headers = list[tuple[str, str]]


@dataclass
class Request:
    """A request. Header names are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes = b""
    gone: list[Callable[[], None]] = field(default_factory=list)  # called when the client leaves before the answer


class Connection(asyncio.Protocol):
    """A client's connection: a request, its answer, the next request."""

    def __init__(
        self, app: Callable[[Request, "Connection"], None], keep_alive: float, connections: set["Connection"]
    ) -> None:
        self._app = app
        self._keep_alive = keep_alive  # seconds that an idle connection stays open
        self._connections = connections  # all that are open
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=LONGEST_HEAD)
        self._incoming: Request | None = None  # its body is still to come
        self._request: Request | None = None  # whole, not yet answered
        self._timer: asyncio.TimerHandle | None = None
        self.closing = False  # after the answer in hand
        self.peer = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        if not isinstance(transport, asyncio.Transport):
            raise TypeError("not a stream")
        self.transport = transport
        address = transport.get_extra_info("peername") or ("", 0)
        self.peer = f"{address[0]}:{address[1]}"
        self._connections.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        """The client has gone."""
        del error
        self._connections.discard(self)
        self._stop_timer()
        if self._request is not None:
            for gone in self._request.gone:
                gone()
            self._request = None

    def data_received(self, data: bytes) -> None:
        """Bytes have arrived."""
        self._stop_timer()
        self._http.receive_data(data)
        self._advance()

    def answer(self, status: int, headers: Headers, body: bytes = b"") -> None:
        """Send a whole answer."""
        if self._request is not None:
            self._start(status, [("content-length", str(len(body))), *headers])
            if self._request.method != "HEAD":
                self._write(h11.Data(body))
            self._finish()

    def begin(self, status: int, headers: Headers) -> None:
        """Begin an answer of unknown length."""
        if self._request is not None:
            self._start(status, [*headers, ("transfer-encoding", "chunked")])

    def send(self, data: bytes) -> None:
        """Send more of an answer that was begun."""
        if self._request is not None:
            self._write(h11.Data(data))

    def end(self) -> None:
        """End an answer that was begun."""
        if self._request is not None:
            self._finish()

    def close_when_answered(self) -> None:
        """Close now if no request is in hand, else after its answer."""
        self.closing = True
        if self._request is None:
            self.transport.close()

    def _advance(self) -> None:
        """Hand the next request over if it is there whole."""
        while self._request is None and not self.transport.is_closing():
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError:
                self._refuse()
                return
            if isinstance(event, h11.Request):
                self._incoming = _request(event)
                if self._http.they_are_waiting_for_100_continue:
                    self._write(h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue"))
            elif isinstance(event, h11.Data) and self._incoming is not None:
                self._incoming.body += event.data
            elif isinstance(event, h11.EndOfMessage) and self._incoming is not None:
                self._request, self._incoming = self._incoming, None
                self._stop_timer()
                self._app(self._request, self)
            else:  # more has to arrive first
                if self._incoming is None and _is_no_request(self._http.trailing_data[0]):
                    self._refuse()
                return

    def _refuse(self) -> None:
        """Answer what is not HTTP."""
        fields = [("content-type", "text/plain; charset=utf-8"), ("connection", "close")]
        self._start(400, [*fields, ("content-length", str(len(GARBAGE)))])
        self._write(h11.Data(GARBAGE))
        self.transport.close()

    def _start(self, status: int, headers: Headers) -> None:
        fields = [("date", email.utils.formatdate(time.time(), usegmt=True)), ("server", "uvicorn"), *headers]
        if self.closing:
            fields.append(("connection", "close"))
        self._write(h11.Response(status_code=status, headers=fields, reason=HTTPStatus(status).phrase.encode()))

    def _write(self, event: h11.Event) -> None:
        self.transport.write(self._http.send(event) or b"")

    def _finish(self) -> None:
        self._write(h11.EndOfMessage())
        self._request = None
        if self.closing or self._http.our_state is h11.MUST_CLOSE:
            self.transport.close()
            return
        self._http.start_next_cycle()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._keep_alive, self.transport.close)
        if self._http.trailing_data[0]:  # the next request may be there already
            loop.call_soon(self._advance)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _is_no_request(head: bytes) -> bool:
    """Whether the first line is no request's. vLLM's parser refuses it at once; h11 would wait for the whole head."""
    return b"\r\n" in head and b" HTTP/1." not in head


def _request(event: h11.Request) -> Request:
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in event.headers}
    path = event.target.decode("latin-1").partition("?")[0]
    return Request(event.method.decode("ascii"), path, headers)
