"""One client's errors, half-sent and large requests through a real HAProxy, and what others notice of them: nothing.

Times are shortened by a factor that each test names, those of HAProxy and of the engine alike.
"""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from barewind.balancer import commands as balancer
from barewind.balancer.limits import BUFFER, MIB
from barewind.rollout import canary
from lab import wait
from tests.support.endpoint_client import CHAT, Trickle, ask, headers, send
from tests.support.endpoint_engine import FakeEngine
from tests.support.haproxy import HAProxy, engine_at

OTHERS = 20  # requests of others, beside each attack

Start = Callable[..., int]


@pytest.fixture
def engines() -> Iterator[list[FakeEngine]]:
    with FakeEngine(seconds=0.2, tokens=4) as one, FakeEngine(seconds=0.2, tokens=4) as two:
        yield [one, two]


@pytest.fixture
def start(haproxy: HAProxy, engines: list[FakeEngine]) -> Start:
    """Run HAProxy over both engines: the text of its configuration that is another here, the places of each engine, keys."""

    def run(text: dict[str, str] | None = None, *, slots: int = 16, modality: str = "text", **keys: object) -> int:
        haproxy.local |= text or {}
        places = [
            engine_at(f"gpu{number}", engine.port, max_num_seqs=slots, modality=modality)
            for number, engine in enumerate(engines, 1)
        ]
        haproxy.use(places, **keys)
        haproxy.start()
        haproxy.until(balancer.wait_checked)
        return haproxy.port

    return run


def others(port: int, count: int = OTHERS, at_a_time: int = 1, body: str = "{}") -> list[int]:
    """The statuses of requests of another address."""
    with ThreadPoolExecutor(at_a_time) as pool:
        asked = [pool.submit(ask, port, CHAT, "POST", body=body, source="127.0.0.3") for _ in range(count)]
        return [one.result().status for one in asked]


def in_rotation(haproxy: HAProxy) -> dict[str, bool]:
    return {name: server.in_rotation for name, server in haproxy.look().servers.items()}


# --- Errors and slowness of engines -----------------------------------------------------------------------------------


def test_a_clients_errors_take_no_engine_from_others_and_are_counted(haproxy: HAProxy, start: Start) -> None:
    port = start()
    before = canary.read(haproxy.ask(canary.COUNTERS), "lb1")
    stop = threading.Event()
    failed: list[int] = []

    def attack() -> None:
        while not stop.is_set():
            failed.append(ask(port, f"{CHAT}?fail", "POST", body="{}", source="127.0.0.2").status)

    thread = threading.Thread(target=attack)
    thread.start()
    try:
        wait.until(lambda: len(failed) > 30, 60, "the attack does not come")  # over ten in a row on each
        assert set(others(port)) == {200}
        assert in_rotation(haproxy) == {"gpu1": True, "gpu2": True}
    finally:
        stop.set()
        thread.join()
    assert set(failed) == {500}
    after = canary.read(haproxy.ask(canary.COUNTERS), "lb1")
    assert sum(after[name].since(before[name]).failed for name in before) == len(failed)  # canaries go by it


def test_engines_that_tell_their_health_late_go_on_serving(
    haproxy: HAProxy, start: Start, engines: list[FakeEngine]
) -> None:
    port = start(
        {"timeout check 60s": "timeout check 6s"}
    )  # a tenth of everything; before, the check took a tenth of 10 s
    for engine in engines:
        engine.health_seconds, engine.checks = 1.2, 0
    wait.until(lambda: min(engine.checks for engine in engines) > 4, 60, "no checks")
    assert in_rotation(haproxy) == {"gpu1": True, "gpu2": True}
    assert set(others(port, 4)) == {200}


def test_an_engine_that_hangs_is_out_after_three_checks(
    haproxy: HAProxy, start: Start, engines: list[FakeEngine]
) -> None:
    port = start({"timeout check 60s": "timeout check 2s"})  # a thirtieth
    engines[0].health_seconds = 3600
    wait.until(lambda: in_rotation(haproxy) == {"gpu1": False, "gpu2": True}, 60, "the engine stays")
    assert set(others(port, 4)) == {200}


def test_an_engine_that_is_gone_costs_nobody_an_answer_and_is_out_after_three_checks(
    haproxy: HAProxy, start: Start, engines: list[FakeEngine]
) -> None:
    port = start()
    engines[0].__exit__(None, None, None)
    assert set(others(port, 8)) == {200}  # repeated on the other one
    wait.until(lambda: in_rotation(haproxy) == {"gpu1": False, "gpu2": True}, 60, "the engine stays")
    engines[0].__enter__()
    wait.until(lambda: in_rotation(haproxy) == {"gpu1": True, "gpu2": True}, 60, "the engine does not return")


# --- Requests that come slowly ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [1000, 20_000, 200_000])
def test_half_sent_bodies_cost_no_engine_anything_and_end(start: Start, engines: list[FakeEngine], length: int) -> None:
    port = start({"time 12s": "time 1s", "time 20s": "time 1s", "time 30s": "time 1s"}, requests_per_client=100)
    with Trickle(port, 50, length=length) as attack:
        assert set(others(port, 8, at_a_time=4)) == {200}
        assert {answer.code for answer in attack.answers() if answer} == {"request_timeout"}
    assert sum(len(engine.requests) for engine in engines) == 8
    assert max(engine.most_open for engine in engines) <= 4


def test_bodies_larger_than_the_buffer_from_one_address_leave_places_to_others(
    haproxy: HAProxy, start: Start, engines: list[FakeEngine]
) -> None:
    port = start(modality="image")
    places = 32
    for drained in ("", "gpu2"):
        if drained:
            haproxy.ask(balancer.drain(drained))
        with Trickle(port, 20, length=10_000_000, first=BUFFER + 65536):
            wait.until(lambda: sum(engine.open for engine in engines) > 0, 60, "no body passes the wait")
            assert set(others(port, 12, at_a_time=3)) == {200}
            wait.until(lambda: sum(engine.open for engine in engines) < places / 4, 60, "it has a quarter")
        wait.until(lambda: sum(engine.open for engine in engines) == 0, 60, "a request stays")


def test_a_body_larger_than_the_buffer_arrives_whole(start: Start, engines: list[FakeEngine]) -> None:
    port = start(modality="image")
    assert others(port, 2, body="x" * 8_000_000) == [200, 200]
    assert {seen.body for engine in engines for seen in engine.requests} == {8_000_000}


def test_a_client_that_takes_nothing_of_its_answer_is_cut(start: Start, engines: list[FakeEngine]) -> None:
    port = start({"timeout client 60s": "timeout client 1s"})
    for engine in engines:
        engine.seconds, engine.tokens = 0, 200_000  # more than all buffers hold
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(headers(2).encode() + b"{}")
        wait.until(lambda: sum(engine.most_open for engine in engines) == 1, 60, "the request does not come")
        wait.until(lambda: sum(engine.open for engine in engines) == 0, 60, "the engine goes on")
        assert not any(engine.whole for engine in engines)


def test_an_engine_may_be_silent_longer_than_a_client(start: Start, engines: list[FakeEngine]) -> None:
    port = start({"timeout client 60s": "timeout client 1s"})
    for engine in engines:
        engine.seconds, engine.tokens = 3, 1
    answer = ask(port, CHAT, "POST", body="{}")
    assert (answer.status, "word 0" in answer.body) == (200, True)


def test_headers_that_come_slowly_end(start: Start) -> None:
    port = start({"timeout http-request 10s": "timeout http-request 1s"})
    assert send(port, f"POST {CHAT} HTTP/1.1\r\nHost: lb\r\n").status == 408


# --- Requests that are too large, or too many -------------------------------------------------------------------------


def test_a_prompt_that_no_engine_could_take_is_refused_before_it_comes(start: Start, engines: list[FakeEngine]) -> None:
    port = start()
    answer = send(port, headers(30_000_000))  # nothing of the body is sent
    assert (answer.status, answer.code) == (413, "request_too_large")
    assert send(port, headers(30_000_000).replace("Content", "Expect: 100-continue\r\nContent")).status == 413
    assert sum(engine.most_open for engine in engines) == 0


@pytest.mark.parametrize("length", [2**31, 10**12, 2**63 - 1, 2**63, 2**63 + 5, 2**64 - 1, 2**64, 2**64 + 2])
@pytest.mark.parametrize("method", ["GET /v1/models", f"POST {CHAT}"])
def test_no_length_is_so_long_that_it_looks_short(
    start: Start, engines: list[FakeEngine], method: str, length: int
) -> None:
    """HAProxy takes 2^63 and more for negative, and 2^64 - 1 for a body without a length."""
    port = start()
    begin = f"{method} HTTP/1.1\r\nHost: lb\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    assert send(port, begin).status in (400, 413)
    assert sum(engine.most_open for engine in engines) == 0


def test_http_2_is_no_way_past_the_limits(start: Start, engines: list[FakeEngine], tmp_path: Path) -> None:
    port = start()
    (tmp_path / "body").write_bytes(b"x" * 4_000_000)
    url, body = f"http://127.0.0.1:{port}{CHAT}", f"@{tmp_path}/body"
    curl = ["curl", "-sS", "-m", "60", "-o", "/dev/null", "-w", "%{http_code}", "--data-binary", body]
    for version in ("--http2-prior-knowledge", "--http2", "--http1.1"):
        for method in ("POST", "GET"):
            done = subprocess.run([*curl, version, "-X", method, url], capture_output=True, text=True, check=False)
            assert done.stdout in ("000", "400", "405", "413"), version
    assert sum(engine.most_open for engine in engines) == 0


def test_a_body_must_tell_its_length(start: Start, engines: list[FakeEngine]) -> None:
    port = start()
    begin = f"POST {CHAT} HTTP/1.1\r\nHost: lb\r\nConnection: close\r\n"
    assert send(port, f"{begin}\r\n").code == "length_required"
    assert send(port, f"{begin}Transfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n").code == "length_required"
    for body in ("Content-Length: 100000\r\n\r\nx", "Transfer-Encoding: chunked\r\n\r\n"):
        text = f"GET /v1/models HTTP/1.1\r\nHost: lb\r\nConnection: close\r\n{body}"
        assert send(port, text).code == "unexpected_body"
    assert sum(engine.most_open for engine in engines) == 0


def test_a_client_that_asks_first_is_told_to_go_on(start: Start, engines: list[FakeEngine]) -> None:
    port = start()
    text = headers(4).replace("Content", "Expect: 100-continue\r\nContent") + "{ } "
    assert send(port, text).status in (100, 200)
    assert [seen.body for engine in engines for seen in engine.requests] == [4]


def test_headers_are_short_although_bodies_are_not(start: Start, engines: list[FakeEngine]) -> None:
    port = start()
    assert ask(port, "/v1/models", "GET", f"X-Long: {'x' * 20_000}").code == "headers_too_large"
    assert ask(port, f"/v1/models?{'x' * 8_000}").status == 200
    assert sum(len(engine.requests) for engine in engines) == 1


def test_one_address_has_a_part_of_the_places(start: Start, engines: list[FakeEngine]) -> None:
    for engine in engines:
        engine.held = True
    port = start(slots=10)  # 20 places: 4 for one address
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(ask, port, CHAT, "POST", body="{}", source="127.0.0.2") for _ in range(8)]
        try:
            wait.until(lambda: sum(one.done() for one in asked) >= 4, 50, "nobody is refused")
        finally:
            for engine in engines:
                engine.held = False
        answers = [one.result() for one in asked]
    assert sorted(answer.status for answer in answers) == [200] * 4 + [429] * 4
    refusal = next(answer for answer in answers if answer.status == 429)
    assert (refusal.code, refusal.headers["retry-after"]) == ("too_many_requests", "2")
    assert ask(port, CHAT, "POST", body="{}", source="127.0.0.2").status == 200  # they have ended


def test_one_address_has_so_many_connections(start: Start) -> None:
    port = start(connections_per_client=5)
    with Trickle(port, 12, length=1000) as attack:
        answers = list(attack.answers())
        assert sum(answer is not None for answer in answers) <= 5
        assert set(others(port, 4)) == {200}


def test_what_engines_cannot_begin_waits_and_is_told_when_it_waits_too_long(
    start: Start, engines: list[FakeEngine]
) -> None:
    for engine in engines:
        engine.seconds = 1
    port = start(slots=1, requests_per_client=50, queue_timeout=10)
    assert others(port, 6, at_a_time=6) == [200] * 6
    assert [engine.most_open for engine in engines] == [1, 1]
    for engine in engines:
        engine.seconds = 3
    port_of_others = port
    with ThreadPoolExecutor(10) as pool:
        asked = [pool.submit(ask, port_of_others, CHAT, "POST", body="{}") for _ in range(10)]
        answers = [one.result() for one in asked]
    late = [answer for answer in answers if answer.status == 503]
    assert {answer.status for answer in answers} == {200, 503}
    assert {(answer.code, answer.headers["retry-after"]) for answer in late} == {("overloaded", "5")}


def test_what_waits_for_a_place_gets_it_on_the_other_engine_when_one_is_drained(
    haproxy: HAProxy, start: Start, engines: list[FakeEngine]
) -> None:
    for engine in engines:
        engine.held = True
    port = start(slots=1, requests_per_client=50)
    with ThreadPoolExecutor(6) as pool:
        asked = [pool.submit(ask, port, CHAT, "POST", body="{}") for _ in range(6)]
        try:
            wait.until(lambda: all(engine.open for engine in engines), 50, "the engines get nothing")
            haproxy.ask(balancer.drain("gpu1"))
        finally:
            for engine in engines:
                engine.held = False
        assert [one.result().status for one in asked] == [200] * 6
    assert [len(engine.requests) for engine in engines] == [1, 5]


def test_weights_hold_while_places_are_limited(haproxy: HAProxy, start: Start, engines: list[FakeEngine]) -> None:
    port = start(slots=8, requests_per_client=50)
    haproxy.ask(balancer.weigh({"gpu1": 0}))
    assert others(port, 16, at_a_time=12) == [200] * 16
    assert [len(engine.requests) for engine in engines] == [0, 16]


def test_the_longest_body_of_the_default_passes(start: Start) -> None:
    port = start()  # context of 262144 tokens: 2 MiB and 1 MiB beside it
    assert others(port, 1, body="x" * (3 * MIB)) == [200]
    assert others(port, 1, body="x" * (3 * MIB + 1)) == [413]
