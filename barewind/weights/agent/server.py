"""This host as a mirror for the others: HTTP range requests on its files, and its news."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, BinaryIO
from urllib.parse import parse_qs, unquote, urlsplit

from barewind.weights.agent import news
from barewind.weights.agent.admission import Admission
from barewind.weights.agent.job import Job, Part
from barewind.weights.agent.links import most_incoming
from barewind.weights.agent.peers import ROW_HEADER
from barewind.weights.agent.rate import Rate
from barewind.weights.agent.rows import read_row
from barewind.weights.agent.state import State
from barewind.weights.agent.store import Store

PATIENCE = 60  # seconds that a connection may be idle or stuck
_PIECE = 8 * 2**20  # bytes handed to the kernel at a time
GUESTS = (
    1  # hosts that hear news from here at a time beyond those that always do: one that was lost, or looks for lost ones
)
_RANGE = re.compile(r"bytes=(\d+)-(\d+)")


class Server(ThreadingHTTPServer):
    """Answers the hosts of the job, nobody else. Serves nothing but parts that are there and as they were sent.

    A connection is a thread. There are few of them, and one host holds a part of these at most (admission.py), so that what is
    wrong on it, however slow its requests, costs the others nothing.
    """

    daemon_threads = True
    request_queue_size = 4  # what waits here counts as a connection too
    allow_reuse_address = True

    def __init__(self, job: Job, state: State, stores: dict[str, Store], links: int) -> None:
        """`links`: so many hosts each host follows."""
        me = job.me
        if me is None:
            raise ValueError("a host without peers serves nobody")
        self.address_family = socket.AF_INET6 if ":" in me.address else socket.AF_INET
        super().__init__((me.address, me.port), _Request)
        self.job, self.state, self.stores = job, state, stores
        self.rate = Rate(job.rate_limit)
        self.addresses = {peer.name: peer.address for peer in job.peers.values()}
        self.run = f"{job.id}-{time.time_ns()}"
        self.admission = Admission(
            set(self.addresses.values()), most_incoming(links), links + GUESTS, job.limits.dead / 2
        )
        self.parts = {(part.key, part.file, part.start, part.end): part for part in state.parts.values()}

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Let in the hosts of the job only; the firewall does so too."""
        return self.admission.let_in(request, client_address[0])

    def process_request(self, request: Any, client_address: Any) -> None:
        """Have a thread answer a connection."""
        try:
            super().process_request(request, client_address)
        except BaseException:
            self.admission.left(request)
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer a connection to its end."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.admission.left(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a connection that breaks: the other side asks again."""

    def start(self) -> None:
        """Answer from now on, in threads of its own."""
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.5}, name="serve", daemon=True).start()


class _Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = PATIENCE
    server: Server

    def do_GET(self) -> None:
        """`/news?run=R&since=N&state=V`, or `/files/KEY/FILE` with a range that is a part."""
        if self.server.state.ended:
            self.close_connection = True
            return None
        self.server.admission.moved(self.connection)
        url = urlsplit(self.path)
        if url.path == "/news":
            if not self.server.admission.may_have_news(self.connection):
                self.close_connection = True
                return None
            return self._news({name: values[0] for name, values in parse_qs(url.query).items()})
        folder, _, rest = url.path.removeprefix("/").partition("/")
        key, _, file = rest.partition("/")
        span = _RANGE.fullmatch(self.headers.get("Range") or "")
        part = span and self.server.parts.get((unquote(key), unquote(file), int(span[1]), int(span[2]) + 1))
        if folder != "files" or not part:
            return self._empty(404)
        with self.server.state.changed:
            present = part.id in self.server.state.have
        return self._part(part) if present else self._empty(416)

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing for a request: there are thousands."""

    def _part(self, part: Part) -> None:
        size = self.server.state.parts_of_file[part.file_id][-1].end
        self.send_response(206)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Range", f"bytes {part.start}-{part.end - 1}/{size}")
        self.send_header("Content-Length", str(part.size))
        self.end_headers()
        with self.server.stores[part.key].file(part.file) as file:
            self._send(file, part.start, part.end)

    def _send(self, file: BinaryIO, offset: int, end: int) -> None:
        while offset < end:
            if self.server.state.ended:
                raise ConnectionError
            count = min(_PIECE, self.server.rate.piece, end - offset)
            self.server.rate.take(count)
            sent = self.connection.sendfile(file, offset, count)
            self.server.admission.moved(self.connection)
            if not sent:
                raise ConnectionError
            offset += sent

    def _news(self, query: dict[str, str]) -> None:
        state = self.server.state
        known = query.get("run") == self.server.run  # what was told before counts only if this program told it
        since = int(query["since"]) if known else 0
        version = int(query["state"]) if known else -1
        until = time.monotonic() + self.server.job.limits.dead / 4  # an answer is a sign of life too
        with state.changed:
            self._hear(state)
            while state.version == version and not state.ended and (left := until - time.monotonic()) > 0:
                state.told.wait(left)
            told = news.plain(news.tell(state, since, version, time.monotonic())) | {"run": self.server.run}
        body = json.dumps(told, separators=(",", ":")).encode()
        self.server.admission.moved(self.connection)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _hear(self, state: State) -> None:
        """Take in what the host that asks tells of itself; of another one it tells nothing this way."""
        try:
            name, beat, plain_row = json.loads(self.headers.get(ROW_HEADER) or "null")
            if self.server.addresses.get(name) != self.client_address[0] or name not in state.others:
                return
            rows = {} if plain_row is None else {name: read_row(plain_row)}
            news.take_request(state, name, {"rows": rows, "beats": {name: (int(beat), 0.0)}}, time.monotonic())
        except (TypeError, ValueError):
            return

    def _empty(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()
