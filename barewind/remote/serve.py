"""This host as a mirror for the others: HTTP range requests on its files, and what it has to tell."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, BinaryIO
from urllib.parse import parse_qs, unquote, urlsplit

from barewind.remote.job import Job, Part
from barewind.remote.rate import Rate
from barewind.remote.store import Store
from barewind.remote.swarm import Swarm

PATIENCE = 60  # seconds that a connection may be idle or stuck
_PIECE = 8 * 2**20  # bytes handed to the kernel at a time
_RANGE = re.compile(r"bytes=(\d+)-(\d+)")


class Server(ThreadingHTTPServer):
    """Answers the hosts of the job, nobody else. Serves nothing but parts that are there and as they were sent."""

    daemon_threads = True
    request_queue_size = 256
    allow_reuse_address = True

    def __init__(self, job: Job, swarm: Swarm, stores: dict[str, Store]) -> None:
        me = job.me
        if me is None:
            raise ValueError("a host without peers serves nobody")
        self.address_family = socket.AF_INET6 if ":" in me.address else socket.AF_INET
        super().__init__((me.address, me.port), _Request)
        self.job, self.swarm, self.stores = job, swarm, stores
        self.rate = Rate(job.rate_limit)
        self.welcome = {peer.address for peer in job.peers.values()}
        self.run = f"{job.id}-{time.time_ns()}"
        self.parts = {(part.key, part.file, part.start, part.end): part for part in swarm.parts.values()}

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002
        """Hosts of the job only; the firewall says so too."""
        return client_address[0] in self.welcome

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that breaks is no news: the other side asks again."""

    def start(self) -> None:
        """Answer from now on, in threads of its own."""
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.5}, name="serve", daemon=True).start()


class _Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = PATIENCE
    server: Server

    def do_GET(self) -> None:
        """`/news?run=R&since=N&state=V`, or `/files/KEY/FILE` with a range that is a part."""
        if self.server.swarm.over:
            self.close_connection = True
            return None
        url = urlsplit(self.path)
        if url.path == "/news":
            return self._news({name: values[0] for name, values in parse_qs(url.query).items()})
        folder, _, rest = url.path.removeprefix("/").partition("/")
        key, _, file = rest.partition("/")
        span = _RANGE.fullmatch(self.headers.get("Range") or "")
        part = span and self.server.parts.get((unquote(key), unquote(file), int(span[1]), int(span[2]) + 1))
        if folder != "files" or not part:
            return self._empty(404)
        with self.server.swarm.changed:
            there = part.id in self.server.swarm.have
        return self._part(part) if there else self._empty(416)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are counted, not printed."""

    def _part(self, part: Part) -> None:
        size = self.server.swarm.of_file[part.key, part.file][-1].end
        self.send_response(206)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Range", f"bytes {part.start}-{part.end - 1}/{size}")
        self.send_header("Content-Length", str(part.size))
        self.end_headers()
        with self.server.stores[part.key].file(part.file) as file:
            self._send(file, part.start, part.end)

    def _send(self, file: BinaryIO, at: int, end: int) -> None:
        while at < end:
            if self.server.swarm.over:
                raise ConnectionError
            count = min(_PIECE, self.server.rate.piece, end - at)
            self.server.rate.take(count)
            sent = self.connection.sendfile(file, at, count)
            if not sent:
                raise ConnectionError
            at += sent

    def _news(self, asked: dict[str, str]) -> None:
        swarm = self.server.swarm
        since = int(asked["since"]) if asked.get("run") == self.server.run else 0
        known = int(asked["state"]) if asked.get("run") == self.server.run else -1
        until = time.monotonic() + self.server.job.limits.dead / 4  # an answer is a sign of life too
        with swarm.changed:
            while swarm.version == known and not swarm.over and (left := until - time.monotonic()) > 0:
                swarm.changed.wait(left)
            said = swarm.tell(since) | {"run": self.server.run}
        text = json.dumps(said, separators=(",", ":")).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _empty(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()
