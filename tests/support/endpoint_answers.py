"""Answers as both engines give them in each of the three APIs, which tell their tokens."""

from __future__ import annotations

import json

from tests.support.endpoint_client import CHAT

MESSAGES, RESPONSES = "/v1/messages", "/v1/responses"
TRAP = '"usage":{"input_tokens":900,"output_tokens":900} \n\ndata: {"usage": {"prompt_tokens": 900}}'  # what a model may write
CHAT_USAGE = {"prompt_tokens": 30, "total_tokens": 50, "completion_tokens": 20}
CACHED = {"prompt_tokens_details": {"cached_tokens": 10}}
# Cached ones are not among the input's.
ANTHROPIC = {"input_tokens": 20, "output_tokens": 20, "cache_read_input_tokens": 10}
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


def cut(body: str, size: int) -> list[str]:
    """A body in pieces of so many letters."""
    return [body[at : at + size] for at in range(0, len(body), size)]


RESPONSE = named(
    {"type": "response.created", "response": {"id": "1", "output": [], "usage": None}},
    {"type": "response.in_progress", "response": {"id": "1", "output": [], "usage": None}},
    {"type": "response.output_item.added", "item": {}},
    *[{"type": "response.output_text.delta", "delta": TRAP}] * 2,
    {"type": "response.output_text.done", "text": TRAP * 2},
    {"type": "response.completed", "response": {"id": "1", "output": [{"text": TRAP}], "usage": OPENAI, "user": None}},
)
# What engines send: the path, the body, and how many events of it bring tokens. Each tells 30 tokens of the prompt, 10 of which
# were cached, and 20 of the answer.
ANSWERS = {
    "chat": (CHAT, json.dumps({"choices": [{"message": {"content": TRAP}}], "usage": CHAT_USAGE | CACHED}), 0),
    "chat, nothing told of the cache": (CHAT, json.dumps({"usage": {**CHAT_USAGE, "prompt_tokens_details": None}}), 0),
    "messages": (MESSAGES, json.dumps({"content": [{"text": TRAP}], "usage": ANTHROPIC}, separators=(",", ":")), 0),
    "responses": (RESPONSES, json.dumps({"output": [{"text": TRAP}], "usage": OPENAI, "user": None}), 0),
    "messages streamed, vLLM": (MESSAGES, message({"input_tokens": 30, "output_tokens": 0}, ANTHROPIC), 2),
    "messages streamed, SGLang": (MESSAGES, message(ANTHROPIC | {"output_tokens": 0}, {"output_tokens": 20}), 2),
    "responses streamed": (RESPONSES, RESPONSE, 2),
}
