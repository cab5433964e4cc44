"""The server: which page is what, which request is whose tokens."""

import asyncio
import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from http import HTTPStatus
from typing import Any

from lab.standin import answer, question
from lab.standin.engine import Engine, Generation, Refused
from lab.standin.metrics import Metrics
from lab.standin.settings import Settings
from lab.standin.wire import Connection, Headers, Request

JSON = ("content-type", "application/json")
VARY = ("vary", "Origin")
ASKED = ("/v1/chat/completions", "/v1/completions")
UNCOUNTED = ("/metrics", "/health", "/load", "/ping", "/version")
PROMETHEUS = ("content-type", "text/plain; version=1.0.0; charset=utf-8")


class Server:
    """All connections of one engine."""

    def __init__(self, settings: Settings, context: int) -> None:
        self.settings = settings
        self.context = context  # tokens a request may have
        self.metrics = Metrics(settings.names[0], settings.draft_tokens)
        self.engine = Engine(settings, self.metrics)
        self.connections: set[Connection] = set()
        self._pages: dict[str, Callable[[], tuple[Headers, bytes]]] = {
            "/health": lambda: ([VARY], b""),
            "/ping": lambda: ([VARY], b""),
            "/version": lambda: _json({"version": settings.version}),
            "/load": lambda: _json({"server_load": 0}),
            "/v1/models": lambda: _json(self._models()),
            "/metrics": lambda: ([PROMETHEUS, VARY], self.metrics.text().encode()),
        }

    def connection(self) -> Connection:
        """A new connection."""
        return Connection(self.handle, self.settings.keep_alive, self.connections)

    def handle(self, request: Request, connection: Connection) -> None:
        """Answer one request."""
        if self.settings.api_keys and request.path.startswith("/v1") and not self._knows(request):
            self._finish(request, connection, 401, [JSON], json.dumps({"error": "Unauthorized"}).encode())
        elif request.path in ASKED and request.method == "POST":
            self._ask(request, connection)
        elif request.path in self._pages and request.method in ("GET", *(["POST"] if request.path == "/ping" else [])):
            self._finish(request, connection, 200, *self._pages[request.path]())
        elif request.path in (*ASKED, *self._pages):
            allowed = ("allow", "POST" if request.path in ASKED else "GET")
            headers, body = _json({"detail": "Method Not Allowed"})
            self._finish(request, connection, 405, [allowed, *headers], body)
        else:
            self._finish(request, connection, 404, *_json({"detail": "Not Found"}))

    def _ask(self, request: Request, connection: Connection) -> None:
        settings = self.settings
        if self.engine.fails("errors"):
            self._finish(request, connection, 500, *_json(answer.error(500, answer.DEAD)))
            return
        kind = request.headers.get("content-type", "")
        try:
            asked = question.read(settings, self.context, request.path, kind, request.body)
        except question.Problem as problem:
            self._finish(request, connection, problem.status, *_json(problem.body))
            return
        except (TypeError, ValueError, KeyError, AttributeError) as error:  # something that is not what it should be
            body = answer.error(400, f"1 validation error:\n  {error!r}", "Bad Request")
            self._finish(request, connection, 400, *_json(body))
            return
        if self.engine.fails("no-tools"):
            asked = replace(asked, tool=None)
        made = answer.Answer(
            asked,
            settings.version,
            request.headers.get("x-request-id"),
            garbage=self.engine.fails("garbage"),
            parser=settings.reasoning_parser is not None,
        )
        reply = (Streamed if asked.stream else Whole)(self, request, connection, made)
        generation = Generation(reply, asked.prompt, made.tokens, made.finish, asked.sequences)
        try:
            self.engine.submit(generation)
        except Refused:
            _, refusal = _json(answer.error(500, "cannot schedule new futures after shutdown"))
            self._finish(request, connection, 500, [JSON], refusal)
            return
        request.gone.append(lambda: self.engine.cancel(generation))
        reply.begin()

    def _knows(self, request: Request) -> bool:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and key in self.settings.api_keys

    def _models(self) -> dict[str, Any]:
        now = int(time.time())
        permission = {
            "object": "model_permission",
            "created": now,
            "allow_create_engine": False,
            "allow_sampling": True,
            "allow_logprobs": True,
            "allow_search_indices": False,
            "allow_view": True,
            "allow_fine_tuning": False,
            "organization": "*",
            "group": None,
            "is_blocking": False,
        }
        card = {"object": "model", "created": now, "owned_by": "vllm", "root": self.settings.model, "parent": None}
        data = [
            {"id": name, **card, "max_model_len": self.context, "permission": [{"id": _permission(), **permission}]}
            for name in self.settings.names
        ]
        return {"object": "list", "data": data}

    def _finish(self, request: Request, connection: Connection, status: int, headers: Headers, body: bytes) -> None:
        self.log(request, connection, status)
        connection.answer(status, headers, body)

    def log(self, request: Request, connection: Connection, status: int) -> None:
        """Count an answer and write it down as uvicorn does."""
        if request.path not in UNCOUNTED:
            known = request.path in ASKED or request.path in self._pages
            self.metrics.answered(request.path if known else "none", request.method, status)
        if self.settings.access_log:
            phrase = HTTPStatus(status).phrase
            line = f'{connection.peer} - "{request.method} {request.path} HTTP/1.1" {status} {phrase}'
            print(f"INFO:     {line}", flush=True)

    async def close(self, patience: float) -> None:
        """Let go of every connection; answers on their way have `patience` seconds."""
        for connection in list(self.connections):
            connection.close_when_answered()
        end = asyncio.get_running_loop().time() + patience
        while self.connections and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(0.005)


class Whole:
    """An answer that is sent when it is complete."""

    def __init__(self, server: Server, request: Request, connection: Connection, made: answer.Answer) -> None:
        self.server = server
        self.request = request
        self.connection = connection
        self.answer = made

    def begin(self) -> None:
        """Nothing to send yet."""

    def token(self, place: int, last: str | None) -> None:
        """One more token."""
        self.answer.said, self.answer.last = place + 1, last
        if last:
            self._send(200, self.answer.whole())

    def aborted(self, reason: str) -> None:
        """No more tokens will come."""
        self.answer.last = reason
        if reason == "error":
            self._send(500, answer.error(500, answer.DEAD))
        else:
            self._send(200, self.answer.whole())

    def _send(self, status: int, body: dict[str, Any]) -> None:
        self.server.log(self.request, self.connection, status)
        self.connection.answer(status, *_json(body))


class Streamed(Whole):
    """An answer that is sent token by token."""

    def begin(self) -> None:
        """Headers and the first event; vLLM sends them before any token is there."""
        self.server.log(self.request, self.connection, 200)
        self.connection.begin(200, [("content-type", "text/event-stream; charset=utf-8"), VARY])
        if first := self.answer.first():
            self.connection.send(first)

    def token(self, place: int, last: str | None) -> None:
        """One more token."""
        self.connection.send(self.answer.token(place, last))
        if last:
            self._end(self.answer.end())

    def aborted(self, reason: str) -> None:
        """No more tokens will come."""
        if reason == "error":
            self._end(self.answer.dead())
        else:
            self._end(self.answer.cut(reason) + self.answer.end())

    def _end(self, events: bytes) -> None:
        self.connection.send(events)
        self.connection.end()


def _json(value: object) -> tuple[Headers, bytes]:
    return [JSON, VARY], json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _permission() -> str:
    return f"modelperm-{os.urandom(8).hex()}"
