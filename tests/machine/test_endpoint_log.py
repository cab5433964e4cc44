"""The line that a real HAProxy logs of each request, and what scripts of web pages may do."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from barewind.balancer import commands as balancer
from lab import wait
from tests.support.endpoint_client import CHAT, ask, send
from tests.support.endpoint_engine import FakeEngine
from tests.support.haproxy import HAProxy, engine_at

SITE = "https://chat.example.com"


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    with FakeEngine() as running:
        yield running


@pytest.fixture
def port(haproxy: HAProxy, engine: FakeEngine) -> int:
    haproxy.use([engine_at("gpu1", engine.port)], cors_origins=[SITE, "http://localhost:3000"])
    haproxy.start()
    haproxy.until(balancer.wait_checked)
    return haproxy.port


def line_of(haproxy: HAProxy, request_id: str) -> dict[str, Any]:
    wait.until(lambda: request_id in "".join(haproxy.log()), 60, "the request is not logged")
    line = next(line for line in haproxy.log() if request_id in line)
    found: dict[str, Any] = json.loads(re.sub(r"^<\d+>", "", line))
    return found


def test_a_request_has_a_flat_json_line_of_these_fields(haproxy: HAProxy, port: int) -> None:
    answer = ask(port, f"{CHAT}?hunter2", "POST", "Authorization: Bearer hunter2", body='{"prompt": "hunter2"}')
    line = line_of(haproxy, answer.headers["x-request-id"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", line["at"])
    assert (line["status"], line["method"], line["path"], line["engine"]) == (200, "POST", CHAT, "gpu1")
    assert (line["client"], line["end"], line["code"]) == ("127.0.0.1", "----", "-")
    assert line["total_ms"] >= line["first_ms"] >= 0
    assert line["bytes_out"] > len(answer.body)
    assert all(isinstance(value, str | int) for value in line.values())
    assert "hunter2" not in "".join(haproxy.log())


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ('/x"y\\', '/x"y\\'),
        ("/" + '"' * 9000, "/" + '"' * 255),
        ("/\xe9\xff", None),
        ("/v1/models#x?y", "/v1/models#x"),
    ],
)
def test_whatever_a_path_is_the_line_stays_json(haproxy: HAProxy, port: int, target: str, path: str | None) -> None:
    answer = ask(port, target)
    if "x-request-id" not in answer.headers:  # refused by the parser
        assert answer.status == 400
        return
    line = line_of(haproxy, answer.headers["x-request-id"])
    assert line["code"] == "not_found"
    assert path is None or line["path"] == path


def test_a_refusal_is_logged_with_its_code_which_no_client_gets(haproxy: HAProxy, port: int) -> None:
    answer = ask(port, "/metrics")
    assert not [name for name in answer.headers if "barewind" in name]
    line = line_of(haproxy, answer.headers["x-request-id"])
    assert (line["status"], line["code"], line["engine"]) == (404, "not_found", "<NOSRV>")


def test_requests_that_never_were_complete_are_json_too(haproxy: HAProxy, port: int) -> None:
    send(port, "\x00\x01\x02\r\n\r\n")
    ask(port, "/x", "M" * 5000)
    mark = ask(port, "/v1/models").headers["x-request-id"]
    line_of(haproxy, mark)
    lines = [re.sub(r"^<\d+>", "", line) for line in haproxy.log() if '"at"' in line]
    assert len(lines) >= 3
    assert all(json.loads(line)["status"] for line in lines)


def preflight(port: int, origin: str, target: str = CHAT, method: str = "OPTIONS") -> Any:
    return ask(
        port,
        target,
        method,
        f"Origin: {origin}",
        "Access-Control-Request-Method: POST",
        "Access-Control-Request-Headers: authorization,x-stainless-lang",
    )


def test_a_script_of_a_listed_page_may_ask_and_read(port: int, engine: FakeEngine) -> None:
    answer = preflight(port, SITE)
    assert (answer.status, answer.body) == (204, "")
    assert answer.headers["access-control-allow-origin"] == SITE
    assert answer.headers["access-control-allow-headers"] == "authorization,x-stainless-lang"
    assert answer.headers["access-control-allow-methods"] == "GET, POST"
    assert preflight(port, "http://localhost:3000", "/v1/models").status == 204
    answer = ask(port, CHAT, "POST", f"Origin: {SITE}", body="{}")
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, SITE)
    assert "X-Request-Id" in answer.headers["access-control-expose-headers"]
    assert answer.headers["vary"] == "Origin"
    refused = ask(port, "/metrics", "GET", f"Origin: {SITE}")  # it reads errors as well
    assert (refused.code, refused.headers["access-control-allow-origin"]) == ("not_found", SITE)
    assert len(engine.requests) == 1


@pytest.mark.parametrize("origin", ["https://chat.example.com.evil.example", "https://other.example", "null", "*", ""])
def test_a_script_of_another_page_gets_nothing(port: int, origin: str) -> None:
    answer = preflight(port, origin)
    assert (answer.status, answer.code) == (405, "method_not_allowed")
    assert not [name for name in answer.headers if name.startswith("access-control")]
    answer = ask(port, CHAT, "POST", f"Origin: {origin}", body="{}")
    assert answer.headers["vary"] == "Origin"
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_a_preflight_of_an_unknown_path_ends_like_any_other(port: int) -> None:
    assert preflight(port, SITE, "/metrics").code == "not_found"
