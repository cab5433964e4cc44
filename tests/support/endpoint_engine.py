"""An engine as a balancer sees it: answers about its health, generates for a while, and remembers who asked."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

_REASONS = {200: "OK", 500: "Internal Server Error", 503: "Service Unavailable"}


@dataclass(frozen=True)
class Seen:
    """A request as it arrived; names of headers are in small letters."""

    line: str
    headers: dict[str, str]
    body: int  # bytes that had arrived when it was answered

    @property
    def target(self) -> str:
        """What was asked for, as it was written."""
        return self.line.split(" ")[1]


@dataclass
class FakeEngine:
    """Serves on a free port of 127.0.0.1 while it is used as a context.

    + health_seconds: until it answers about its health
    + status: of its answers to anything else; 500 where the request says "fail"
    + seconds: that it generates, in `tokens` events
    + usage: tokens of the prompt, of the answer, and cached, that it tells at the end of an answer
    + pieces: of the body that it answers instead, each sent by itself, within `seconds`
    + held: it begins none of its answers until this is False
    """

    health_seconds: float = 0.0
    status: int = 200
    seconds: float = 0.0
    tokens: int = 1
    usage: tuple[int, int, int] | None = None
    pieces: Sequence[str] = ()
    held: bool = False
    port: int = 0
    whole: int = 0  # answers that were given to their end
    checks: int = 0  # that were answered
    requests: list[Seen] = field(default_factory=list)
    open: int = 0  # connections of requests, with or without one that is complete
    most_open: int = 0

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    async def _start(self) -> asyncio.Server:
        server = await asyncio.start_server(self._connection, "127.0.0.1", self.port)
        self.port = int(server.sockets[0].getsockname()[1])
        return server

    async def _stop(self) -> None:
        self._server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        counted = False
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {
                name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)
            }
            if head[0].split(" ")[1] in ("/health", "/ready") and "x-request-id" not in headers:
                await asyncio.sleep(self.health_seconds)
                self._head(writer, 200, "Content-Length: 0")
                await writer.drain()
                self.checks += 1
                return
            counted = True
            self.open += 1
            self.most_open = max(self.most_open, self.open)
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            self.requests.append(Seen(head[0], headers, len(body)))
            while self.held:
                await asyncio.sleep(0.01)
            await self._answer(writer, 500 if "fail" in head[0] else self.status)
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        finally:
            self.open -= counted
            writer.close()

    async def _answer(self, writer: asyncio.StreamWriter, status: int) -> None:
        if status != 200:
            self._head(writer, status, "Content-Length: 0")
            return await writer.drain()
        self._head(writer, 200, "Content-Type: text/event-stream\r\nTransfer-Encoding: chunked")
        pieces = self.pieces or self._events()
        for piece in pieces:
            await asyncio.sleep(self.seconds / len(pieces))
            writer.write(f"{len(piece.encode()):x}\r\n{piece}\r\n".encode())
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        self.whole += 1

    def _events(self) -> list[str]:
        said: list[dict[str, object]] = [
            {"choices": [{"delta": {"content": f"word {number}"}}]} for number in range(self.tokens)
        ]
        if self.usage is not None:
            prompt, answer, cached = self.usage
            told = {
                "prompt_tokens": prompt,
                "prompt_tokens_details": {"cached_tokens": cached},
                "completion_tokens": answer,
            }
            said.append({"choices": [], "usage": told})
        return [f"data: {json.dumps(event)}\n\n" for event in said]

    @staticmethod
    def _head(writer: asyncio.StreamWriter, status: int, headers: str) -> None:
        writer.write(f"HTTP/1.1 {status} {_REASONS[status]}\r\n{headers}\r\nConnection: close\r\n\r\n".encode())
