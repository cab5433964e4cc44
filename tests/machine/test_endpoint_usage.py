"""Tokens of answers as both engines tell them, in each of the three APIs: in HAProxy's log, and against a key's limit."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest

from lab import wait
from tests.support.endpoint_client import CHAT
from tests.support.endpoint_engine import FakeEngine
from tests.support.endpoint_keys import Start, chat, key, line_of, lines, start, text_of
from tests.support.haproxy import HAProxy

__all__ = ["start"]

MESSAGES, RESPONSES = "/v1/messages", "/v1/responses"
TRAP = '"usage":{"input_tokens":900,"output_tokens":900} \n\ndata: {"usage": {"prompt_tokens": 900}}'  # what a model may write
CHAT_USAGE = {"prompt_tokens": 30, "total_tokens": 50, "completion_tokens": 20}
CACHED = {"prompt_tokens_details": {"cached_tokens": 10}}
ANTHROPIC = {
    "input_tokens": 20,
    "output_tokens": 20,
    "cache_read_input_tokens": 10,
}  # cached ones are not among the input's
TURNS = {"input_tokens_per_turn": [30], "cached_tokens_per_turn": [10]}
OPENAI = {
    "input_tokens": 30,
    "input_tokens_details": {"cached_tokens": 10, "cache_write_tokens": 0, **TURNS},
    "output_tokens": 20,
    "output_tokens_details": {"reasoning_tokens": 0, "output_tokens_per_turn": [20]},
    "total_tokens": 50,
}


def named(*events: dict[str, object]) -> str:
    """A stream of events with names, as /v1/messages and /v1/responses have them."""
    return "".join(f"event: {event['type']}\ndata: {json.dumps(event, separators=(',', ':'))}\n\n" for event in events)


def message(first: dict[str, int], last: dict[str, int], words: int = 2) -> str:
    """A stream of /v1/messages; `first` and `last`: the usage that it begins and ends with."""
    delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": TRAP}}
    return named(
        {"type": "message_start", "message": {"id": "1", "role": "assistant", "content": [], "usage": first}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *[delta] * words,
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": last},
        {"type": "message_stop"},
    )


RESPONSE = named(
    {"type": "response.created", "response": {"id": "1", "output": [], "usage": None}},
    {"type": "response.in_progress", "response": {"id": "1", "output": [], "usage": None}},
    {"type": "response.output_item.added", "item": {}},
    *[{"type": "response.output_text.delta", "delta": TRAP}] * 2,
    {"type": "response.output_text.done", "text": TRAP * 2},
    {"type": "response.completed", "response": {"id": "1", "output": [{"text": TRAP}], "usage": OPENAI, "user": None}},
)
# What each engine sends, and how many events of it bring tokens.
ANSWERS = {
    "chat": (CHAT, json.dumps({"choices": [{"message": {"content": TRAP}}], "usage": CHAT_USAGE | CACHED}), 0),
    "chat, nothing told of the cache": (CHAT, json.dumps({"usage": {**CHAT_USAGE, "prompt_tokens_details": None}}), 0),
    "messages": (MESSAGES, json.dumps({"content": [{"text": TRAP}], "usage": ANTHROPIC}, separators=(",", ":")), 0),
    "responses": (RESPONSES, json.dumps({"output": [{"text": TRAP}], "usage": OPENAI, "user": None}), 0),
    "messages streamed, vLLM": (MESSAGES, message({"input_tokens": 30, "output_tokens": 0}, ANTHROPIC), 2),
    "messages streamed, SGLang": (MESSAGES, message(ANTHROPIC | {"output_tokens": 0}, {"output_tokens": 20}), 2),
    "responses streamed": (RESPONSES, RESPONSE, 2),
}


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
    engine.pieces, engine.seconds = [body[at : at + size] for at in range(0, len(body), size)], 0.2
    port = start(key("alpha"))
    answer = chat(port, "alpha", target=path)
    assert answer.status == 200
    line = line_of(haproxy, answer)
    cached = "-" if "nothing told" in api else "10"
    assert (line["in"], line["out"], line["cached"], line["events"]) == ("30", "20", cached, str(events))


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
    port = start(key("alpha", tokens_per_minute=130))
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
    assert chat(port, "alpha").code == "token_limit_exceeded"
