"""What reaches an engine through a real HAProxy, and what the balancer says to everything else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from barewind.balancer import commands as balancer
from barewind.engines import ENGINES
from lab import wait
from tests.support.endpoint_client import CHAT, ask, send
from tests.support.endpoint_engine import FakeEngine
from tests.support.haproxy import HAProxy, engine_at


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    with FakeEngine() as running:
        yield running


@pytest.fixture
def port(haproxy: HAProxy, engine: FakeEngine) -> int:
    haproxy.use([engine_at("gpu1", engine.port)], endpoint_paths=["POST /v1/embeddings"])
    haproxy.start()
    haproxy.until(balancer.wait_checked)
    return haproxy.port


def test_what_clients_may_use_reaches_the_engine(port: int, engine: FakeEngine) -> None:
    for one in ENGINES["vllm"].client_paths:
        assert ask(port, one.path, one.method, body="{}" if one.method == "POST" else None).status == 200
    assert [seen.target for seen in engine.requests] == [one.path for one in ENGINES["vllm"].client_paths]


def test_a_path_that_was_added_by_name_reaches_the_engine(port: int, engine: FakeEngine) -> None:
    assert ask(port, "/v1/embeddings?x=1", "POST", body="{}").status == 200
    assert [seen.target for seen in engine.requests] == ["/v1/embeddings?x=1"]


UNKNOWN = (
    *(
        "/",
        "//",
        "/v1",
        "/v1/",
        "/v1/models/",
        "//v1/models",
        "/v1//models",
        "/V1/models",
        "/v1/Models",
        "/v1/models;x",
    ),
    *(
        "/v1%2fmodels",
        "/v1/%6dodels",
        "/%76%31/models",
        "/v1/./models",
        "/v1/../v1/models",
        "/x/../v1/models",
        "/v1/models%00",
    ),
    *(
        "/v1/models%3fx",
        "/v1/models/x",
        "/v1/embedding",
        "/v1/embeddings/",
        "/metrics",
        "/docs",
        "/openapi.json",
        "/version",
    ),
    *("/flush_cache", "/scale_elastic_ep", "/tokenize", "/invocations", "/health/", "/Health", "/ready", "/ping"),
    *("http://lb/metrics", "http://lb/v1/models/", "http://lb", "*"),
    "/" + "x" * 9000,
)


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "OPTIONS", "DELETE", "PUT", "FLUSH"])
def test_nothing_else_reaches_the_engine(port: int, engine: FakeEngine, method: str) -> None:
    for target in UNKNOWN:
        answer = ask(port, target, method, *(() if method in ("GET", "HEAD") else ("Content-Length: 0",)))
        assert answer.status == 404, target
        if method != "HEAD":
            assert answer.code == "not_found", target
    assert engine.requests == []


def test_admin_paths_end_at_the_balancer(port: int, engine: FakeEngine) -> None:
    for path in {path for one in ENGINES.values() for path in (*one.admin_paths, *one.admin_prefixes)}:
        for method in ("GET", "POST"):
            assert ask(port, path, method, body="" if method == "POST" else None).code == "not_found"
    assert engine.requests == []


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "DELETE", "PUT", "PATCH", "FLUSH", "get", "POST"])
def test_another_method_is_told_which_one_the_path_wants(port: int, engine: FakeEngine, method: str) -> None:
    answer = ask(port, "/v1/models", method, "Content-Length: 0")
    assert (answer.status, answer.headers["allow"]) == (405, "GET")
    if method != "HEAD":
        assert answer.code == "method_not_allowed"
    if method != "POST":
        answer = ask(port, CHAT, method, "Content-Length: 0")
        assert (answer.status, answer.headers["allow"]) == (405, "POST")
    assert engine.requests == []


def test_a_proxys_form_of_a_path_is_taken_for_the_path(port: int, engine: FakeEngine) -> None:
    assert ask(port, "http://lb/v1/models?x=1").status == 200
    assert [seen.target for seen in engine.requests] == ["/v1/models?x=1"]
    assert ask(port, "http://elsewhere/v1/models").status in (400, 404)  # another name than in Host
    assert send(port, "CONNECT lb:80 HTTP/1.1\r\nHost: lb:80\r\nConnection: close\r\n\r\n").code == "not_found"
    assert len(engine.requests) == 1


def test_what_is_no_request_ends_before_any_rule(port: int, engine: FakeEngine) -> None:
    targets = [f"GET {target} HTTP/1.1\r\nHost: lb\r\n\r\n" for target in ("v1/models", "\\v1\\models", "/v1/\x01")]
    for text in (*targets, "GET / HTTP/1.1\r\nHost : lb\r\n\r\n", "\x00\x01\x02\r\n\r\n"):
        assert send(port, text).status == 400  # in HAProxy's own words: its parser has no others
    assert engine.requests == []


def test_a_hidden_second_request_reaches_nothing(port: int, engine: FakeEngine) -> None:
    both = "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n"
    hidden = "0\r\n\r\nGET /metrics HTTP/1.1\r\nHost: lb\r\nConnection: close\r\n\r\n"
    assert send(port, f"POST {CHAT} HTTP/1.1\r\nHost: lb\r\n{both}\r\n{hidden}").code == "length_required"
    assert engine.requests == []


def test_health_is_the_fleets_and_answered_by_the_balancer(haproxy: HAProxy, port: int, engine: FakeEngine) -> None:
    answer = ask(port, "/health")
    assert (answer.status, json.loads(answer.body)) == (200, {"status": "ok"})
    assert (ask(port, "/health", "HEAD").status, ask(port, "/health", "HEAD").body) == (
        200,
        "",
    )  # as other balancers probe
    assert ask(port, "/health", "POST", body="").code == "method_not_allowed"
    haproxy.ask(balancer.drain("gpu1"))
    answer = ask(port, "/health?x")
    assert (answer.status, answer.code, answer.headers["retry-after"]) == (503, "no_engine", "5")
    haproxy.ask(balancer.undrain("gpu1"))
    assert ask(port, "/health").status == 200
    haproxy.ask(balancer.weigh({"gpu1": 0}))  # stands by
    assert ask(port, "/health").code == "no_engine"
    assert engine.requests == []


def test_without_an_engine_clients_get_json_and_when_to_ask_again(haproxy: HAProxy, port: int) -> None:
    haproxy.ask(balancer.drain("gpu1"))
    answer = ask(port, CHAT, "POST", body="{}")
    assert (answer.status, answer.code, answer.headers["retry-after"]) == (503, "overloaded", "5")


# --- Who asked, and what is logged ------------------------------------------------------------------------------------


def test_an_id_of_our_own_goes_from_the_client_to_the_engine_and_the_log(
    haproxy: HAProxy, port: int, engine: FakeEngine
) -> None:
    theirs = (
        "X-Request-Id: mine",
        "X-Forwarded-For: 203.0.113.1",
        "X-Real-IP: 203.0.113.1",
        "Forwarded: for=203.0.113.1",
    )
    answer = ask(port, f"{CHAT}?secret=hunter2", "POST", *theirs, "X-Request-ID: again", body="{}")
    mark = answer.headers["x-request-id"]
    assert re.fullmatch(r"[0-9a-f-]{36}", mark)
    headers = engine.requests[0].headers
    assert (headers["x-request-id"], headers["x-forwarded-for"]) == (mark, "127.0.0.1")
    assert not {"forwarded", "x-real-ip"} & set(headers)
    wait.until(lambda: any(mark in line for line in haproxy.log()), 60, "the request is not logged")
    refused = ask(port, "/metrics?secret=hunter2").headers["x-request-id"]
    assert refused != mark
    wait.until(lambda: any(refused in line for line in haproxy.log()), 60, "the refused request is not logged")
    ask(port, "http://lb/v1/models?secret=hunter2")
    wait.until(lambda: any("/v1/models" in line for line in haproxy.log()), 60, "the third is not logged")
    assert "hunter2" not in "".join(haproxy.log())


def test_a_path_cannot_forge_a_line_of_the_log(haproxy: HAProxy, port: int) -> None:
    ask(port, '/x"\x1b[31m{}')
    mark = ask(port, "/v1/models").headers["x-request-id"]
    wait.until(lambda: any(mark in line for line in haproxy.log()), 60, "the request is not logged")
    assert "\x1b" not in "".join(haproxy.log())


def test_it_serves_ipv6_where_the_kernel_has_it(haproxy: HAProxy, port: int, engine: FakeEngine) -> None:
    assert ask(port, "/v1/models", family="::1").status == 200
    assert engine.requests[0].headers["x-forwarded-for"] == "::1"
    haproxy.stop()
    haproxy.use([engine_at("gpu1", engine.port)], ipv6=False)
    haproxy.start()
    haproxy.until(balancer.wait_checked)
    assert ask(haproxy.port, "/v1/models").status == 200
    with pytest.raises(OSError, match="refused"):
        ask(haproxy.port, "/v1/models", family="::1")


def test_hosts_whose_names_haproxy_does_not_take(haproxy: HAProxy, engine: FakeEngine) -> None:
    with FakeEngine() as other:
        haproxy.use([engine_at("@ssh/gpu1", engine.port), engine_at("_x40_ssh_x2F_gpu1", other.port)])
        haproxy.start()
        haproxy.until(balancer.wait_checked)
        assert haproxy.drain("@ssh/gpu1").servers.keys() == {"@ssh/gpu1"}
        assert {name: str(one.admin) for name, one in haproxy.look().servers.items()} == {
            "@ssh/gpu1": "drain",
            "_x40_ssh_x2F_gpu1": "ready",
        }
        haproxy.hook("ExecReload")
        assert haproxy.look().servers["@ssh/gpu1"].admin == "drain"
        haproxy.ask(balancer.weigh({"@ssh/gpu1": 7}))
        haproxy.ask(balancer.undrain("@ssh/gpu1"))
        haproxy.stop()
        haproxy.ask(balancer.drain("@ssh/gpu1"))
        haproxy.start()
        assert (haproxy.look().servers["@ssh/gpu1"].admin, haproxy.look().servers["@ssh/gpu1"].weight) == ("drain", 7)
