"""Tokens of answers as both engines tell them, in each of the three APIs: in HAProxy's log, and against a key's limit."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from lab import wait
from tests.support.endpoint_answers import ANSWERS, ANTHROPIC, MESSAGES, cut, message
from tests.support.endpoint_engine import FakeEngine
from tests.support.endpoint_keys import Start, chat, key, line_of, lines, text_of
from tests.support.haproxy import HAProxy


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    with FakeEngine() as running:
        yield running


@pytest.mark.parametrize("size", [7, 100, 10_000])
@pytest.mark.parametrize("api", ANSWERS)
def test_what_an_answer_tells_is_in_the_log_wherever_it_is_cut(
    haproxy: HAProxy, start: Start, engine: FakeEngine, api: str, size: int
) -> None:
    path, body, events = ANSWERS[api]
    engine.pieces, engine.seconds = cut(body, size), 0.2
    port = start(key("alpha"))
    answer = chat(port, "alpha", target=path)
    assert answer.status == 200
    line = line_of(haproxy, answer)
    cached = "-" if "nothing told" in api else "10"
    assert (line["in"], line["out"], line["cached"], line["events"]) == ("30", "20", cached, str(events))


def test_an_answer_without_words_tells_its_prompt(haproxy: HAProxy, start: Start, engine: FakeEngine) -> None:
    engine.pieces = ['{"object": "list", "data": [], "usage": {"prompt_tokens": 30, "total_tokens": 30}}']
    port = start(key("alpha"), endpoint_paths=["POST /v1/embeddings"])
    line = line_of(haproxy, chat(port, "alpha", target="/v1/embeddings"))
    assert (line["in"], line["out"], line["events"]) == ("30", "-", "0")


@pytest.mark.parametrize("api", ANSWERS)
def test_an_answer_is_charged_before_its_client_can_ask_again(start: Start, engine: FakeEngine, api: str) -> None:
    path, body, _ = ANSWERS[api]
    engine.pieces = [body]
    port = start(*(key(f"k{number}", tokens_per_minute=1000) for number in range(20)))
    left = [
        [chat(port, f"k{number}", target=path).headers["x-ratelimit-remaining-tokens"] for _ in range(3)]
        for number in range(20)
    ]
    # The minute of the clock may change in between: 50 tokens are then 49 and fewer.
    assert all(one[0] == "1000" for one in left)
    assert left.count(["1000", "950", "900"]) >= 10
    assert all(int(one[1]) in range(950, 960) and int(one[2]) in range(900, 920) for one in left)


def test_a_message_that_its_client_leaves_is_charged_by_its_prompt_and_its_events(
    haproxy: HAProxy, start: Start, engine: FakeEngine
) -> None:
    body = message({"input_tokens": 30, "output_tokens": 0}, ANTHROPIC, words=400)
    engine.pieces, engine.seconds = body.replace("\n\nevent", "\n\n\0event").split("\0"), 8.0
    port = start(key("alpha", tokens_per_minute=1000))
    with socket.create_connection(("127.0.0.1", port)) as client:
        head = f"POST {MESSAGES} HTTP/1.1\r\nHost: lb\r\nX-Api-Key: {text_of('alpha')}\r\nContent-Length: 2\r\n\r\n"
        client.sendall(f"{head}{{}}".encode())
        read = b""
        while read.count(b"content_block_delta\n") < 110:
            read += client.recv(65536)
    wait.until(lambda: bool(lines(haproxy)), 60, "it is not logged")
    line = lines(haproxy)[-1]
    assert (line["in"], line["out"]) == ("-", "-")  # as of every answer that ended early: its events are summed apart
    assert 110 <= int(line["events"]) < 400
    left = int(chat(port, "alpha").headers["x-ratelimit-remaining-tokens"])
    counted = 1000 - 30 - int(line["events"])
    assert left in range(counted, counted + 50)  # more if the minute of the clock has changed meanwhile
