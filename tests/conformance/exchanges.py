"""What the real engines were asked, and the stand-in is asked again: the same of each engine, and what is its own."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from barewind.gate import probes

Json = dict[str, Any]

MODEL = "barewind-lab/Mistral-Tiny"
CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
TOOL: Json = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
MESSAGES = [{"role": "user", "content": "Who are you?"}]
STREAM = {"stream": True}
USAGE = {"stream": True, "stream_options": {"include_usage": True}}

GETS = ("/health", "/ping", "/version", "/load", "/v1/models", "/nowhere", CHAT)
CHATS: dict[str, Json] = {
    "plain": {},
    "stream": STREAM,
    "stream with usage": USAGE,
    "two choices": {"n": 2, "max_tokens": 2},
    "max_completion_tokens": {"max_tokens": None, "max_completion_tokens": 2},
    "no model": {"model": None},
    "unknown model": {"model": "nobody"},
    "no messages": {"messages": None},
    "empty messages": {"messages": []},
    "unknown role": {"messages": [{"role": "robot", "content": "x"}]},
    "max_tokens a word": {"max_tokens": "x"},
    "max_tokens 0": {"max_tokens": 0},
    "max_tokens too many": {"max_tokens": 100000},
    "prompt too long": {"messages": [{"role": "user", "content": "hello world " * 3000}]},
    "temperature below 0": {"temperature": -1},
    "reasoning none": {"reasoning_effort": "none"},
    "reasoning unknown": {"reasoning_effort": "bogus"},
    "tools not called": {"tools": [TOOL]},
    "tools forbidden": {"tools": [TOOL], "tool_choice": "none"},
    "tool_choice without tools": {"tool_choice": "required"},
    "tool_choice of another tool": {
        "tools": [TOOL],
        "tool_choice": {"type": "function", "function": {"name": "x"}},
    },
    "unknown key": {"frobnicate": 1},
}
TEXTS: dict[str, Json] = {
    "plain": {},
    "stream": STREAM,
    "stream with usage": USAGE,
    "two prompts": {"prompt": ["a", "b"], "max_tokens": 2},
    "no max_tokens": {"max_tokens": None},
    "no prompt": {"prompt": None},
    "unknown model": {"model": "nobody"},
}

# The schema leaves one answer, and the bias towards the token that ends an answer makes random weights give it.
UNIT = {
    "type": "object",
    "properties": {"unit": {"type": "string", "enum": ["celsius"]}},
    "required": ["unit"],
    "additionalProperties": False,
}
STRICT: Json = {"type": "function", "function": {"name": "set_unit", "strict": True, "parameters": UNIT}}
CALLED: Json = {"tools": [STRICT], "max_tokens": 400, "logit_bias": {"2": 100}}
NAMED: Json = {"tool_choice": {"type": "function", "function": {"name": "set_unit"}}}
SCHEMA: Json = {"response_format": {"type": "json_schema", "json_schema": {"name": "unit", "schema": UNIT}}}


@dataclass(frozen=True)
class Recording:
    """A real engine whose answers were written down.

    + arguments: its options besides the address, also the stand-in's
    + cpu: what the real one needs besides to run without accelerators
    + metrics: what its metrics begin with
    + gets, chats, texts: what only it was asked
    """

    engine: str
    version: str
    command: str
    arguments: tuple[str, ...]
    metrics: str
    cpu: tuple[str, ...] = ()
    gets: tuple[str, ...] = ()
    chats: Mapping[str, Json] = field(default_factory=dict)
    texts: Mapping[str, Json] = field(default_factory=dict)

    def exchanges(self) -> list[Json]:
        """What is asked: {"name", "method", "path", "body" or "raw", "headers"}."""
        return list(self._exchanges())

    def _exchanges(self) -> Iterator[Json]:
        for path in (*GETS, *self.gets):
            yield {"name": f"GET {path}", "method": "GET", "path": path}
        yield {"name": "HEAD /health", "method": "HEAD", "path": "/health"}
        for path, base, cases in (
            (CHAT, {"model": MODEL, "messages": MESSAGES, "max_tokens": 4}, {**CHATS, **self.chats}),
            (COMPLETIONS, {"model": MODEL, "prompt": "Hello", "max_tokens": 4}, {**TEXTS, **self.texts}),
        ):
            for name, changes in cases.items():
                body = {key: value for key, value in (base | changes).items() if value is not None}
                yield {"name": f"{path} {name}", "method": "POST", "path": path, "body": body}
            for name, raw in (("no JSON", "{bad"), ("no object", "[1]"), ("nothing", "")):
                yield {"name": f"{path} {name}", "method": "POST", "path": path, "raw": raw}
        chat = {"path": CHAT, "method": "POST", "body": {"messages": MESSAGES, "max_tokens": 1}}
        yield {"name": "not JSON's type", "headers": {"Content-Type": "text/plain"}, **chat}
        yield {"name": "id of the caller", "headers": {"X-Request-Id": "abc"}, **chat}


VLLM = Recording(
    engine="vllm",
    version="0.32.0",
    command="vllm serve MODEL",
    arguments=(
        *("--served-model-name", MODEL, "--max-model-len", "2048", "--max-num-seqs", "8", "--language-model-only"),
        *("--enable-auto-tool-choice", "--tool-call-parser", "mistral", "--reasoning-parser", "mistral"),
    ),
    metrics="vllm:",
    chats={"top_k beyond 64 bits": {"top_k": 10**30}},
)
SGLANG = Recording(
    engine="sglang",
    version="0.5.23",
    command="python3 -m sglang.launch_server --model-path MODEL",
    arguments=(
        *("--served-model-name", MODEL, "--context-length", "2048", "--max-running-requests", "8"),
        *("--tool-call-parser", "mistral", "--reasoning-parser", "mistral", "--enable-metrics"),
        *("--limit-mm-data-per-request", '{"image": 2}'),
    ),
    metrics="sglang:",
    cpu=(
        *("--device", "cpu", "--attention-backend", "torch_native", "--disable-overlap-schedule"),
        *("--mem-fraction-static", "0.3", "--max-total-tokens", "8192", "--image-processor-backend", "pil"),
    ),
    gets=("/", "/ready", "/model_info", "/get_model_info", f"/v1/models/{MODEL}", "/v1/models/nobody"),
    chats={
        "stream with usage in each event": {
            "stream": True,
            "stream_options": {"include_usage": True, "continuous_usage_stats": True},
        },
        "messages a word": {"messages": "x"},
        "message a number": {"messages": [1]},
        "max_tokens below 0": {"max_tokens": -1},
        "max_tokens a list": {"max_tokens": [1]},
        "more tokens than are left": {"max_tokens": 2047},
        "n 0": {"n": 0},
        "model a number": {"model": 5},
        "stream_options a number": {"stream_options": 1},
        "reasoning": {"reasoning_effort": "high"},
        "reasoning stream": {"reasoning_effort": "high", **STREAM},
        "reasoning of another degree": {"reasoning_effort": "low"},
        "image": {"messages": json.loads(probes.image(MODEL).body)["messages"]},
        "images, too many": {
            "messages": [
                {"role": "user", "content": json.loads(probes.image(MODEL).body)["messages"][0]["content"][1:] * 3}
            ]
        },
        "json_schema": SCHEMA,
        "json_schema without a schema": {"response_format": {"type": "json_schema", "json_schema": {"name": "unit"}}},
        "tool required": {**CALLED, "tool_choice": "required"},
        "tool named": CALLED | NAMED,
        "tool named stream": {**CALLED, **NAMED, **STREAM},
        "tool cut off": {**CALLED, **NAMED, "max_tokens": 2},
        "tool without a function": {"tools": [{}]},
    },
    texts={
        "empty prompt": {"prompt": ""},
        "tokens for a prompt": {"prompt": [1, 2]},
        "two prompts, two choices": {"prompt": ["a", "b"], "n": 2, "max_tokens": 2},
        "max_tokens too many": {"max_tokens": 5000},
        "prompt too long": {"prompt": "hello world " * 3000},
    },
)

RECORDINGS = {recording.engine: recording for recording in (VLLM, SGLANG)}
