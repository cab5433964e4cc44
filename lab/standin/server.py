"""The server: its pages, and the connections that wait for tokens."""

import asyncio
from dataclasses import replace
from http import HTTPStatus
from typing import Any

from lab.standin.answer import Answer
from lab.standin.dialect import Dialect
from lab.standin.engine import Engine, Generation, Refused
from lab.standin.pages import JSON, TEXT, VARY, Page, Response, State, document, text_of
from lab.standin.question import Problem
from lab.standin.settings import Settings
from lab.standin.wire import Connection, Request

ASKED = ("/v1/chat/completions", "/v1/completions")


class Server:
    """The server of an engine, with all connections. `ready`: it is warmed up, and is not to stop."""

    def __init__(self, dialect: Dialect, settings: Settings, context: int) -> None:
        self.dialect = dialect
        self.settings = settings
        self.context = context  # tokens a request may have
        self.metrics = dialect.metrics(settings)
        self.engine = Engine(settings, self.metrics)
        self.connections: set[Connection] = set()
        self.ready = False

    def connection(self) -> Connection:
        """A new connection."""
        return Connection(self.handle, self.settings.keep_alive, self.connections)

    def handle(self, request: Request, connection: Connection) -> None:
        """Answer a request, now or when its tokens are there."""
        page = self._page(request.path)
        if self.settings.api_keys and self.dialect.guarded(request.path) and not self._knows(request):
            self._finish(request, connection, Response([JSON], self.dialect.unauthorized, 401))
        elif request.path in ASKED and request.method == "POST":
            self._ask(request, connection)
        elif page and (request.method == "GET" or (request.method == "POST" and request.path in self.dialect.posted)):
            state = State(self.settings, self.engine, self.context, self.ready, request.path)
            self._finish(request, connection, page(state))
        elif page or request.path in ASKED:
            allowed = ("allow", "POST" if request.path in ASKED else "GET")
            headers, body, *_ = document({"detail": "Method Not Allowed"})
            self._finish(request, connection, Response([allowed, *headers], body, 405))
        else:
            self._finish(request, connection, document({"detail": "Not Found"}, 404))

    def _page(self, path: str) -> Page | None:
        below = (page for start, page in self.dialect.below.items() if path.startswith(start))
        return self.dialect.pages.get(path) or next(below, None)

    def _ask(self, request: Request, connection: Connection) -> None:
        settings, dialect = self.settings, self.dialect
        if self.engine.fails("errors"):
            self._finish(request, connection, document(dialect.error(500, dialect.failed), 500))
            return
        kind = request.headers.get("content-type", "")
        try:
            parameters = dialect.read(settings, self.context, request.path, kind, request.body)
        except Problem as problem:
            self._finish(request, connection, _refused(problem))
            return
        except (TypeError, ValueError, KeyError, AttributeError) as error:  # a value of another type than expected
            self._finish(request, connection, document(dialect.invalid(error), 400))
            return
        if self.engine.fails("no-tools"):
            parameters = replace(parameters, tool=None)
        reply = dialect.answer(
            parameters,
            settings.version,
            request.headers.get("x-request-id"),
            garbage=self.engine.fails("garbage"),
            parser=settings.reasoning_parser is not None,
        )
        sender = (Streamed if parameters.stream else Whole)(self, request, connection, reply)
        generation = Generation(
            sender, parameters.prompt, reply.tokens, reply.finish, parameters.sequences, streamed=parameters.stream
        )
        try:
            self.engine.submit(generation)
        except Refused:
            body = text_of(dialect.error(500, dialect.refusal))
            self._finish(request, connection, Response([JSON], body, 500))
            return
        request.gone.append(lambda: self.engine.cancel(generation))
        sender.begin()

    def _knows(self, request: Request) -> bool:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and key in self.settings.api_keys

    def _finish(self, request: Request, connection: Connection, response: Response) -> None:
        if response.wait:
            later = asyncio.get_running_loop().call_later(
                response.wait, self._finish, request, connection, response._replace(wait=0)
            )
            request.gone.append(later.cancel)
            return
        self.log(request, connection, response.status)
        if response.chunked:
            connection.begin(response.status, response.headers)
            connection.send(response.body)
            connection.end()
        else:
            connection.answer(response.status, response.headers, response.body)

    def log(self, request: Request, connection: Connection, status: int) -> None:
        """Count an answer and print it as uvicorn does."""
        if request.path not in self.dialect.uncounted:
            known = request.path in ASKED or self._page(request.path) is not None
            self.metrics.answered(request.path, request.method, status, known=known)
        if self.settings.access_log:
            phrase = HTTPStatus(status).phrase
            line = f'{connection.peer} - "{request.method} {request.path} HTTP/1.1" {status} {phrase}'
            print(self.dialect.uvicorn(f"INFO:     {line}"), flush=True)

    async def close(self, patience: float) -> None:
        """Close all connections; answers that are being sent get `patience` seconds."""
        for connection in list(self.connections):
            connection.close_when_answered()
        end = asyncio.get_running_loop().time() + patience
        while self.connections and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(0.005)


class Whole:
    """An answer that is sent when it is complete."""

    def __init__(self, server: Server, request: Request, connection: Connection, reply: Answer) -> None:
        self.server = server
        self.request = request
        self.connection = connection
        self.answer = reply

    def begin(self) -> None:
        """Send nothing yet."""

    def token(self, place: int, last: str | None) -> None:
        """Receive a token."""
        self.answer.took(place, last)
        if last:
            self._send(200, self.answer.whole())

    def aborted(self, reason: str) -> None:
        """Receive the end without a token."""
        self.answer.last = reason
        if reason == "error":
            dialect = self.server.dialect
            self._send(500, dialect.error(500, dialect.failed))
        else:
            self._send(200, self.answer.whole())

    def _send(self, status: int, body: dict[str, Any]) -> None:
        self.server.log(self.request, self.connection, status)
        headers, text, *_ = document(body)
        self.connection.answer(status, headers, text)


class Streamed(Whole):
    """An answer that is sent token by token."""

    def begin(self) -> None:
        """Send the headers and the first event, if the engine does so before the first token."""
        if self.server.dialect.begins_early:
            self._begin()

    def token(self, place: int, last: str | None) -> None:
        """Receive a token."""
        if place == 0 and not self.server.dialect.begins_early:
            self._begin()
        self.connection.send(self.answer.token(place, last))
        if last:
            self._end(self.answer.end())

    def aborted(self, reason: str) -> None:
        """Receive the end without a token."""
        if reason == "error":
            self._end(self.answer.dead())
        else:
            self._end(self.answer.cut(reason) + self.answer.end())

    def _begin(self) -> None:
        self.server.log(self.request, self.connection, 200)
        self.connection.begin(200, [("content-type", "text/event-stream; charset=utf-8"), VARY])
        if first := self.answer.first():
            self.connection.send(first)

    def _end(self, events: bytes) -> None:
        self.connection.send(events)
        self.connection.end()


def _refused(problem: Problem) -> Response:
    if isinstance(problem.body, str):
        return Response([TEXT], problem.body.encode(), problem.status)
    return document(problem.body, problem.status)
