"""Who is let in by a real HAProxy, how much each key may, and what the log says of it."""

from __future__ import annotations

import hashlib
import re
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from barewind.keys.entry import Key
from lab import wait
from tests.support.endpoint_client import CHAT, ask
from tests.support.endpoint_engine import FakeEngine
from tests.support.endpoint_keys import Start, chat, key, line_of, lines, text_of
from tests.support.haproxy import HAProxy


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    with FakeEngine(usage=(30, 20, 10)) as running:
        yield running


# --- Who --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header", ["Authorization: Bearer {}", "authorization: bearer {}", "X-Api-Key: {}", "x-api-key: {}"]
)
def test_a_key_lets_in_and_reaches_neither_engine_nor_log(
    haproxy: HAProxy, start: Start, engine: FakeEngine, header: str
) -> None:
    port = start(key("alpha/ci"))
    answer = ask(port, CHAT, "POST", header.format(text_of("alpha/ci")), body="{}")
    assert answer.status == 200
    assert not {"authorization", "x-api-key"} & set(engine.requests[0].headers)
    assert line_of(haproxy, answer)["key"] == "alpha/ci"
    assert "sk-bw" not in "".join(haproxy.log()) + str(engine.requests)


@pytest.mark.parametrize(
    "headers",
    [
        (),
        ("Authorization: Bearer",),
        ("Authorization: Bearer ",),
        ("Authorization: Bearer sk-bw-alpha",),
        ("Authorization: Basic c2stYnctYWxwaGEvY2k6",),
        ("Authorization: sk-bw-alpha/ci",),
        ("X-Api-Key: ",),
        ("X-Api-Key: nobody",),
        ("Authorization: Bearer " + hashlib.sha256(b"sk-bw-alpha/ci").hexdigest(),),
    ],
)
def test_without_a_good_key_nobody_is_let_in(
    haproxy: HAProxy, start: Start, engine: FakeEngine, headers: tuple[str, ...]
) -> None:
    port = start(key("alpha/ci"))
    for target, method in (("/v1/models", "GET"), (CHAT, "POST")):
        answer = ask(port, target, method, *headers, body="{}" if method == "POST" else None)
        assert (answer.status, answer.code, answer.headers["www-authenticate"]) == (401, "invalid_api_key", "Bearer")
        line = line_of(haproxy, answer)
        assert (line["key"], line["code"]) == ("-", "invalid_api_key")
    assert ask(port, "/health").status == 200  # whoever looks after the balancer has no key
    assert engine.requests == []


def test_a_key_ends_when_it_says(haproxy: HAProxy, start: Start, engine: FakeEngine) -> None:
    now = datetime.now(UTC)
    port = start(key("old", expires=now - timedelta(seconds=1)), key("young", expires=now + timedelta(hours=1)))
    answer = chat(port, "old")
    assert (answer.status, answer.code) == (401, "expired_api_key")
    assert line_of(haproxy, answer)["key"] == "old"
    assert chat(port, "young").status == 200
    assert len(engine.requests) == 1


def test_a_flood_without_a_key_is_not_logged_beyond_ten_a_second(haproxy: HAProxy, start: Start) -> None:
    port = start(key("alpha"))
    for _ in range(150):
        assert ask(port, "/v1/models", source="127.0.0.2").status == 401
    line_of(haproxy, chat(port, "alpha", source="127.0.0.2"))
    refused = [line for line in lines(haproxy) if line["status"] == 401]
    assert 90 <= len(refused) <= 110


# --- How much ---------------------------------------------------------------------------------------------------------


def test_requests_per_minute(start: Start) -> None:
    port = start(key("alpha", requests_per_minute=5), key("beta"))
    answers = [chat(port, "alpha") for _ in range(7)]
    assert [answer.status for answer in answers] == [200] * 5 + [429] * 2
    assert [answer.headers["x-ratelimit-remaining-requests"] for answer in answers] == list("4321000")
    assert {answer.headers["x-ratelimit-limit-requests"] for answer in answers} == {"5"}
    assert (answers[-1].code, answers[-1].headers["retry-after"]) == ("rate_limit_exceeded", "10")
    assert "this key may have 5" in answers[-1].body
    assert [chat(port, "beta").status for _ in range(8)] == [200] * 8
    assert "x-ratelimit-limit-requests" not in chat(port, "beta").headers


def test_two_keys_of_one_id_share_its_limits(haproxy: HAProxy, start: Start) -> None:
    first = key("alpha", requests_per_minute=3)
    second = Key("alpha", hashlib.sha256(b"sk-bw-other").hexdigest(), "", first.created, "", requests_per_minute=3)
    port = start(first, second)
    tried = [text_of("alpha"), "sk-bw-other"] * 3
    statuses = [ask(port, CHAT, "POST", f"X-Api-Key: {one}", body="{}").status for one in tried]
    assert statuses == [200] * 3 + [429] * 3


def test_requests_at_a_time(start: Start, engine: FakeEngine) -> None:
    port = start(key("alpha", parallel=4))
    engine.held = True
    with ThreadPoolExecutor(6) as pool:
        running = [pool.submit(chat, port, "alpha") for _ in range(4)]
        wait.until(lambda: len(engine.requests) == 4, 60, "they do not run")
        refused = [chat(port, "alpha") for _ in range(2)]
        assert {(one.status, one.code) for one in refused} == {(429, "too_many_parallel_requests")}
        assert refused[0].headers["retry-after"] == "2"
        engine.held = False
        assert [one.result().status for one in running] == [200] * 4
    wait.until(lambda: chat(port, "alpha").status == 200, 60, "the places are not given back")


def test_tokens_per_minute(haproxy: HAProxy, start: Start) -> None:
    """50 tokens an answer: the third passes at 100, and has 150 counted."""
    port = start(key("alpha", tokens_per_minute=150), key("beta"))
    answers = [chat(port, "alpha") for _ in range(5)]
    assert [answer.status for answer in answers] == [200] * 3 + [429] * 2
    assert [answer.headers["x-ratelimit-remaining-tokens"] for answer in answers] == ["150", "100", "50", "0", "0"]
    assert (answers[-1].code, answers[-1].headers["retry-after"]) == ("token_limit_exceeded", "10")
    assert chat(port, "beta").status == 200
    line = line_of(haproxy, answers[0])
    assert (line["in"], line["out"], line["cached"], line["events"]) == ("30", "20", "10", "2")


def test_ids_that_look_alike_have_their_own_tokens(start: Start) -> None:
    port = start(*(key(id, tokens_per_minute=50) for id in ("a-b", "a/b", "ab", "a--b", "a/-b")))
    assert [chat(port, id).status for id in ("a-b", "a/b", "ab", "a--b", "a/-b")] == [200] * 5
    assert chat(port, "a/b").status == 429


def test_an_answer_that_its_client_leaves_is_charged_by_its_events(
    haproxy: HAProxy, start: Start, engine: FakeEngine
) -> None:
    engine.tokens, engine.seconds = 4000, 8.0
    port = start(key("alpha", tokens_per_minute=20))

    def leave() -> None:
        with socket.create_connection(("127.0.0.1", port)) as client:
            head = f"POST {CHAT} HTTP/1.1\r\nHost: lb\r\nAuthorization: Bearer {text_of('alpha')}\r\nContent-Length: 2\r\n\r\n"
            client.sendall(f"{head}{{}}".encode())
            read = b""
            while read.count(b"data: ") < 100:
                read += client.recv(65536)

    leave()
    wait.until(lambda: bool(lines(haproxy)), 60, "it is not logged")
    line = lines(haproxy)[-1]
    assert (line["in"], line["out"]) == ("-", "-")
    assert int(line["events"]) >= 100
    assert chat(port, "alpha").code == "token_limit_exceeded"


def test_who_makes_engines_fail_waits_and_nobody_else(haproxy: HAProxy, start: Start) -> None:
    port = start(key("alpha"), key("beta"))
    answers = [chat(port, "alpha", target=f"{CHAT}?fail") for _ in range(20)]
    statuses = [answer.status for answer in answers]
    assert statuses == [500] * 5 + [429] * 15
    assert answers[-1].code == "too_many_failures"
    assert [chat(port, "beta").status for _ in range(5)] == [200] * 5
    assert haproxy.look().servers["gpu1"].in_rotation


# --- In the queue -----------------------------------------------------------------------------------------------------


def test_the_interactive_go_before_the_others_and_batch_comes_last(
    haproxy: HAProxy, start: Start, engine: FakeEngine
) -> None:
    port = start(
        key("i", priority="interactive"), key("n"), key("b", priority="batch"), slots=1, requests_per_client=50
    )
    engine.held = True

    def run(id: str) -> None:
        assert chat(port, id, f"X-Who: {id}").status == 200

    threads = []
    for at, id in enumerate(("n", "b", "b", "n", "n", "i", "i")):
        thread = threading.Thread(target=run, args=(id,))
        thread.start()
        threads.append(thread)
        wait.until(lambda at=at: queued(haproxy) >= at, 60, "it does not wait")
    engine.held = False
    for thread in threads:
        thread.join(60)
    order = [seen.headers["x-who"] for seen in engine.requests]
    assert order == ["n", "i", "i", "n", "n", "b", "b"]


def test_a_full_queue_is_told_at_once(haproxy: HAProxy, start: Start, engine: FakeEngine) -> None:
    port = start(key("i", priority="interactive"), key("n"), slots=1, queue_limit=2, requests_per_client=50)
    engine.held = True
    with ThreadPoolExecutor(8) as pool:
        running = [pool.submit(chat, port, "n") for _ in range(3)]
        wait.until(lambda: queued(haproxy) == 2, 60, "nobody waits")
        answer = chat(port, "n")
        assert (answer.status, answer.code, answer.headers["retry-after"]) == (503, "queue_full", "5")
        running += [pool.submit(chat, port, "i") for _ in range(2)]
        wait.until(lambda: queued(haproxy) == 4, 60, "the interactive do not wait")
        assert chat(port, "i").code == "queue_full"
        engine.held = False
        assert [one.result().status for one in running] == [200] * 5


def queued(haproxy: HAProxy) -> int:
    """Requests that wait for an engine."""
    answer = haproxy.ask("echo 'show stat' | socat - UNIX-CONNECT:/run/haproxy/barewind.sock")
    return next(int(line.split(",")[2]) for line in answer.splitlines() if line.startswith("engines,BACKEND"))


# --- Reloads and pairs ------------------------------------------------------------------------------------------------


def test_limits_outlive_a_reload_and_streams_end_whole(haproxy: HAProxy, start: Start, engine: FakeEngine) -> None:
    engine.tokens, engine.seconds = 20, 2.0
    port = start(key("alpha", requests_per_minute=5), key("beta"), requests_per_client=50)
    # A process has looked for one before it to take rates from, twice 5 s, before it gives its own to the next.
    wait.until(lambda: uptime(haproxy) > 11, 60, "it does not get old")
    with ThreadPoolExecutor(10) as pool:
        running = [pool.submit(chat, port, "beta") for _ in range(10)]
        wait.until(lambda: len(engine.requests) == 10, 60, "they do not run")
        engine.seconds = 0.0
        assert [chat(port, "alpha").status for _ in range(4)] == [200] * 4
        before = {worker.pid for worker in haproxy.look().workers}
        haproxy.hook("ExecReload")
        wait.until(
            lambda: any(one.current and one.pid not in before for one in haproxy.look().workers), 60, "no reload"
        )
        wait.until(lambda: counted(haproxy, "alpha") >= 4, 60, "the rates are not handed over")
        assert [chat(port, "alpha").status for _ in range(3)] == [200, 429, 429]
        assert {one.result().body.count("data: ") for one in running} == {21}


def uptime(haproxy: HAProxy) -> int:
    """Seconds that the current process has run."""
    answer = haproxy.ask("echo 'show info' | socat - UNIX-CONNECT:/run/haproxy/barewind.sock")
    return int(answer.partition("Uptime_sec: ")[2].partition("\n")[0])


def counted(haproxy: HAProxy, id: str) -> int:
    """Requests of an id in the last minute, as the current process knows."""
    answer = haproxy.ask("echo 'show table keys' | socat - UNIX-CONNECT:/run/haproxy/barewind.sock")
    found = re.search(rf"key={id} .*http_req_rate\(60000\)=(\d+)", answer)
    return int(found[1]) if found else 0
