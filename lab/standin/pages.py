"""Pages of a server that are answered at once: what they are asked for, what they may look at, what they answer."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from lab.standin.engine import Engine
from lab.standin.settings import Settings
from lab.standin.wire import Headers

JSON = ("content-type", "application/json")
TEXT = ("content-type", "text/plain; charset=utf-8")
VARY = ("vary", "Origin")


class Response(NamedTuple):
    """An answer. `wait`: seconds until it is sent; `chunked`: without a length."""

    headers: Headers
    body: bytes = b""
    status: int = 200
    wait: float = 0
    chunked: bool = False


@dataclass(frozen=True)
class State:
    """What a page may look at.

    + context: tokens that a request may have
    + ready: it is warmed up, and is not to stop
    + path: what was asked for
    """

    settings: Settings
    engine: Engine
    context: int
    ready: bool
    path: str


Page = Callable[[State], Response]


def text_of(value: object) -> bytes:
    """JSON as servers write it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def document(value: object, status: int = 200) -> Response:
    """An answer in JSON."""
    return Response([JSON, VARY], text_of(value), status)


def fixed(value: object) -> Page:
    """A page that always says the same."""

    def page(state: State) -> Response:
        del state
        return document(value)

    return page


def empty(state: State) -> Response:
    """200 without a word."""
    del state
    return Response([VARY])
