"""Requests that an engine must answer before it counts as serving, and what counts as an answer.

Answers are judged by their form: an image is taken, a tool's call comes as a call, reasoning comes in its own field. Only a
model that is known to reason is asked for more; the lab's random weights pass, a parser that an upgrade broke does not.
"""

from __future__ import annotations

import base64
import json
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

Json = dict[str, Any]

TOOL = "set_unit"
_IMAGE_SIDE = 56  # pixels; two of the vision tower's merged patches (2 x 14) each way
_LEAKED = ("[THINK]", "[/THINK]", "<think>", "</think>")  # marks of reasoning that a parser has missed


@dataclass(frozen=True)
class Probe:
    """A chat completion that is asked for. `title` names it to people; `strict`: the model is known to be capable of it."""

    name: str
    title: str
    body: str  # JSON
    strict: bool = False
    reasoning_field: str = "reasoning"


def completion(model: str) -> Probe:
    """A single token of text."""
    return _probe("completion", "a completion", model, "Say hello.", max_tokens=1)


def image(model: str) -> Probe:
    """A single token about an image."""
    content = [
        {"type": "text", "text": "What colour is this?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{base64.b64encode(_png()).decode()}"}},
    ]
    return _probe("image", "a question about an image", model, content, max_tokens=1)


def tool(model: str, *, strict: bool, effort: str | None = None) -> Probe:
    """The call of a tool that the request names, so that the engine holds the answer to the tool's schema."""
    reasoning = {} if effort is None else {"reasoning_effort": effort}
    function = {
        "name": TOOL,
        "description": "Choose the unit of temperatures.",
        "parameters": {
            "type": "object",
            "properties": {"unit": {"type": "string", "enum": ["celsius", "fahrenheit"]}},
            "required": ["unit"],
            "additionalProperties": False,
        },
    }
    return _probe(
        "tool",
        "the call of a tool",
        model,
        "Use Celsius.",
        strict=strict,
        max_tokens=64 if strict else 1,
        tools=[{"type": "function", "function": function}],
        tool_choice={"type": "function", "function": {"name": TOOL}},
        **reasoning,
    )


def reasoning_on(model: str, *, strict: bool, field: str) -> Probe:
    """An answer with reasoning."""
    return _reasoning("reasoning_on", "an answer with reasoning", model, "high", strict=strict, field=field)


def reasoning_off(model: str, *, strict: bool, field: str) -> Probe:
    """An answer without reasoning."""
    return _reasoning("reasoning_off", "an answer without reasoning", model, "none", strict=strict, field=field)


def problem(probe: Probe, status: int, text: str) -> str:
    """What is wrong with an answer; empty if nothing is. `status` is HTTP's, 0 where none came."""
    if status == 0:
        return f"{probe.title}: no answer ({text.strip()[:200] or 'the connection was closed'})"
    if status != 200:
        return f"{probe.title}: HTTP {status} ({_message(text)})"
    try:
        document = json.loads(text)
        choice = document["choices"][0]
        message, generated = choice["message"], document["usage"]["completion_tokens"] >= 1
        names = set(message)
    except (ValueError, LookupError, TypeError):
        return f"{probe.title}: the answer is no chat completion ({text.strip()[:200]})"
    if not generated or "role" not in names:
        return f"{probe.title}: the answer holds no token ({text.strip()[:200]})"
    finding = _JUDGES.get(probe.name, _nothing)(probe, choice, message)
    return f"{probe.title}: {finding} ({_shown(message)})" if finding else ""


def _nothing(probe: Probe, choice: Json, message: Json) -> str:
    del probe, choice, message
    return ""


def _tool(probe: Probe, choice: Json, message: Json) -> str:
    calls = message.get("tool_calls") or []
    if not calls:
        cut = choice.get("finish_reason") == "length" and not probe.strict
        return "" if cut else "the answer holds no call"
    try:
        name, arguments = calls[0]["function"]["name"], calls[0]["function"]["arguments"]
    except (LookupError, TypeError):
        return "the call does not have the form of a call"
    if name != TOOL:
        return f"it calls '{name}', not '{TOOL}'"
    if choice.get("finish_reason") == "length" and not probe.strict:
        return ""
    try:
        given = json.loads(arguments)
    except (ValueError, TypeError):
        return "the call's arguments are no JSON"
    return "" if isinstance(given, dict) and "unit" in given else "the call's arguments are not those of its schema"


def _with_reasoning(probe: Probe, choice: Json, message: Json) -> str:
    del choice
    if _leaks(message):
        return "reasoning comes inside of the text, the engine's parser does not find it"
    if probe.strict and not message.get(probe.reasoning_field):
        return f"'{probe.reasoning_field}' is empty"
    return ""


def _without_reasoning(probe: Probe, choice: Json, message: Json) -> str:
    del choice
    if message.get(probe.reasoning_field) or _leaks(message):
        return "there is reasoning in it, though none was asked for"
    return "the text is empty" if probe.strict and not message.get("content") else ""


_JUDGES: dict[str, Callable[[Probe, Json, Json], str]] = {
    "tool": _tool,
    "reasoning_on": _with_reasoning,
    "reasoning_off": _without_reasoning,
}


def _leaks(message: Json) -> bool:
    return any(mark in str(message.get("content") or "") for mark in _LEAKED)


def _reasoning(name: str, title: str, model: str, effort: str, *, strict: bool, field: str) -> Probe:
    question = "Which is larger, 9.9 or 9.11?"
    tokens = 32 if strict else 1
    probe = _probe(name, title, model, question, strict=strict, max_tokens=tokens, reasoning_effort=effort)
    return replace(probe, reasoning_field=field)


def _probe(name: str, title: str, model: str, content: object, *, strict: bool = False, **more: Any) -> Probe:
    body = {"model": model, "messages": [{"role": "user", "content": content}], **more}
    return Probe(name, title, json.dumps(body), strict)


def _message(text: str) -> str:
    """The message of an answer that is an error."""
    try:
        document = json.loads(text)
        error = document.get("error", document)
        return str(error["message"] if isinstance(error, dict) and "message" in error else error)[:300]
    except (ValueError, AttributeError):
        return text.strip()[:300] or "no text"


def _shown(message: Json) -> str:
    kept = {name: value for name, value in message.items() if value and name != "role"}
    return json.dumps(kept, ensure_ascii=False)[:200]


def _png() -> bytes:
    """A red square, 8 bits RGB."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + b"\xe0\x10\x10" * _IMAGE_SIDE) * _IMAGE_SIDE
    head = struct.pack(">IIBBBBB", _IMAGE_SIDE, _IMAGE_SIDE, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")
