"""What the balancer itself says to clients instead of an engine: in the form of OpenAI's errors, as their libraries read them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

# Of each answer, until it is logged: no client gets it.
CODE_HEADER = "X-Barewind-Code"

# Headers of answers that a script of a web page may read.
EXPOSED = (
    "X-Request-Id",
    "Retry-After",
    *(f"x-ratelimit-{what}-{of}" for of in ("requests", "tokens") for what in ("limit", "remaining")),
)

_REQUEST, _RATE, _SERVER = "invalid_request_error", "rate_limit_error", "server_error"


@dataclass(frozen=True)
class Answer:
    """A status and the error in the body; `headers` beside it. HAProxy fills in what a message has between %[ and ]."""

    status: int
    message: str
    type: str
    code: str
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def line(self) -> str:
        """The words of HAProxy's `http-request return` and `http-error` behind the word itself."""
        body = json.dumps({"error": {"message": self.message, "type": self.type, "code": self.code}})
        named = {**self.headers, CODE_HEADER: self.code}
        headers = "".join(f' hdr {name} "{value}"' for name, value in named.items())
        kind = "lf-string" if "%[" in body else "string"
        return f"status {self.status} content-type application/json{headers} {kind} '{body}'"


def _wait(seconds: int) -> dict[str, str]:
    return {"Retry-After": str(seconds)}  # OpenAI's libraries wait that long and ask again


# HAProxy's own errors, by the words of `http-error`. 401 and 407 are of its own users, which this endpoint has none of.
ERRORS = (
    Answer(400, "The request is malformed.", _REQUEST, "bad_request"),
    Answer(403, "This is not allowed.", _REQUEST, "forbidden"),
    Answer(404, "There is no such path.", _REQUEST, "not_found"),
    Answer(405, "There is no such method here.", _REQUEST, "method_not_allowed"),
    Answer(408, "The request took too long to arrive.", _REQUEST, "request_timeout"),
    Answer(413, "The request is too large.", _REQUEST, "request_too_large"),
    Answer(429, "These are too many requests at a time.", _RATE, "too_many_requests", _wait(2)),
    Answer(500, "The balancer failed.", _SERVER, "internal_error"),
    Answer(501, "The request asks for what the balancer does not do.", _SERVER, "not_implemented"),
    Answer(502, "The engine ended the connection.", _SERVER, "bad_gateway", _wait(2)),
    Answer(503, "No engine is free right now.", _SERVER, "overloaded", _wait(5)),
    Answer(504, "The engine did not answer in time.", _SERVER, "timeout"),
)

NO_PATH = Answer(404, "There is no such path; see /v1/models.", _REQUEST, "not_found")
NO_ENGINE = Answer(503, "No engine serves.", _SERVER, "no_engine", _wait(5))
BODY_OF_GET = Answer(400, "A GET has no body here.", _REQUEST, "unexpected_body")
NO_LENGTH = Answer(411, "Content-Length is needed: bodies in chunks are not taken.", _REQUEST, "length_required")
LONG_HEADERS = Answer(431, "The headers are too long.", _REQUEST, "headers_too_large")

_BEARER = {"WWW-Authenticate": "Bearer"}
NO_KEY = Answer(401, "No valid API key was given.", _REQUEST, "invalid_api_key", _BEARER)
EXPIRED_KEY = Answer(401, "This API key has expired.", _REQUEST, "expired_api_key", _BEARER)
TOO_OFTEN = Answer(
    429,
    "%[var(txn.rate)] requests in a minute; this key may have %[var(txn.rpm)].",
    _RATE,
    "rate_limit_exceeded",
    _wait(10),
)
TOO_PARALLEL = Answer(
    429, "This key may have %[var(txn.parallel)] requests at a time.", _RATE, "too_many_parallel_requests", _wait(2)
)
TOO_MANY_TOKENS = Answer(
    429,
    "%[var(txn.tokens_minute)] tokens in a minute; this key may have %[var(txn.tpm)].",
    _RATE,
    "token_limit_exceeded",
    _wait(10),
)
TOO_MANY_FAILURES = Answer(
    429, "Too many requests of this key made an engine fail.", _RATE, "too_many_failures", _wait(10)
)
QUEUE_FULL = Answer(503, "Too many requests are waiting for an engine.", _SERVER, "queue_full", _wait(5))


def no_method(*allowed: str) -> Answer:
    """A path that wants another method."""
    names = ", ".join(allowed)
    return Answer(405, f"This path wants {names}.", _REQUEST, "method_not_allowed", {"Allow": names})


def too_large(most: int) -> Answer:
    """A body of more bytes than the balancer takes."""
    return Answer(413, f"A body may have {most} bytes (max_body).", _REQUEST, "request_too_large")


def too_many(most: int) -> Answer:
    """More requests of one address than it may have at a time."""
    message = f"One address may have {most} requests at a time (requests_per_client)."
    return Answer(429, message, _RATE, "too_many_requests", _wait(2))
