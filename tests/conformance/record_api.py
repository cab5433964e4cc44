"""Write down what the real vLLM answers, for the stand-in engine to be held to: `python -m tests.conformance.record_api URL`.

URL is a running vLLM of the recorded version with the lab's model and draft, started with ARGUMENTS and
--speculative-config (tests/unit/test_lab_standin_api.py starts the stand-in with the same). Its words are random and left
out of every comparison; names, order, types and errors are not.
"""

from __future__ import annotations

import http.client
import json
import re
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

RECORDED = Path(__file__).parents[1] / "unit" / "expected" / "standin" / "vllm-0.32.0.json"
MODEL = "barewind-lab/Mistral-Tiny"
ARGUMENTS = [
    *("--served-model-name", MODEL, "--max-model-len", "2048", "--max-num-seqs", "8", "--language-model-only"),
    *("--enable-auto-tool-choice", "--tool-call-parser", "mistral", "--reasoning-parser", "mistral"),
]
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
MESSAGES = [{"role": "user", "content": "Who are you?"}]
USAGE = {"stream": True, "stream_options": {"include_usage": True}}


def exchanges() -> list[dict[str, Any]]:
    """What is asked: {"name", "method", "path", "body" or "raw", "headers"}."""
    gets = ["/health", "/ping", "/version", "/load", "/v1/models", "/nowhere", "/v1/chat/completions"]
    chats: dict[str, dict[str, Any]] = {
        "plain": {},
        "stream": {"stream": True},
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
    completions: dict[str, dict[str, Any]] = {
        "plain": {},
        "stream": {"stream": True},
        "stream with usage": USAGE,
        "two prompts": {"prompt": ["a", "b"], "max_tokens": 2},
        "no max_tokens": {"max_tokens": None},
        "no prompt": {"prompt": None},
        "unknown model": {"model": "nobody"},
    }
    found = [{"name": f"GET {path}", "method": "GET", "path": path} for path in gets]
    found.append({"name": "HEAD /health", "method": "HEAD", "path": "/health"})
    for path, base, cases in (
        ("/v1/chat/completions", {"model": MODEL, "messages": MESSAGES, "max_tokens": 4}, chats),
        ("/v1/completions", {"model": MODEL, "prompt": "Hello", "max_tokens": 4}, completions),
    ):
        for name, changes in cases.items():
            body = {key: value for key, value in (base | changes).items() if value is not None}
            found.append({"name": f"{path} {name}", "method": "POST", "path": path, "body": body})
        for name, raw in (("no JSON", "{bad"), ("no object", "[1]"), ("nothing", "")):
            found.append({"name": f"{path} {name}", "method": "POST", "path": path, "raw": raw})
    chat = {"path": "/v1/chat/completions", "method": "POST", "body": {"messages": MESSAGES, "max_tokens": 1}}
    return [
        *found,
        {"name": "not JSON's type", "headers": {"Content-Type": "text/plain"}, **chat},
        {"name": "id of the caller", "headers": {"X-Request-Id": "abc"}, **chat},
    ]


def ask(address: str, exchange: dict[str, Any]) -> dict[str, Any]:
    """One answer: {"status", "headers", "text"}."""
    connection = http.client.HTTPConnection(address, timeout=120)
    body = exchange.get("raw", json.dumps(exchange["body"]) if "body" in exchange else None)
    headers = {"Content-Type": "application/json"} if body is not None else {}
    connection.request(exchange["method"], exchange["path"], body, headers | exchange.get("headers", {}))
    answer = connection.getresponse()
    names = {name.lower(): value for name, value in answer.getheaders()}
    text = answer.read().decode()
    connection.close()
    return {"status": answer.status, "headers": names, "text": text}


def metrics(text: str) -> dict[str, dict[str, Any]]:
    """Name -> type, labels and bounds of every figure in Prometheus' text format."""
    found: dict[str, dict[str, Any]] = {}
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE):
        samples = re.findall(rf"^{re.escape(name)}(?:_bucket)?{{(.*)}} \S+$", text, re.MULTILINE)
        labels = [re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', sample) for sample in samples]
        bounds = [value for sample in labels for label, value in sample if label == "le"]
        found[name] = {"type": kind, "labels": [label for label, _ in labels[0]] if labels else [], "bounds": bounds}
    return found


def main() -> None:
    """Ask for everything and write it down."""
    address = urlsplit(sys.argv[1]).netloc
    asked = exchanges()
    for exchange in asked:  # a first time, because first answers of a cold engine are no measure
        ask(address, exchange)
    answers = {exchange["name"]: ask(address, exchange) for exchange in asked}
    for answer in answers.values():
        answer["text"] = re.sub(r'"root":"[^"]*"', '"root":"/models/x"', answer["text"])
    found = metrics(ask(address, {"method": "GET", "path": "/metrics"})["text"])
    kept = {name: one for name, one in found.items() if name.startswith("vllm:") and not name.endswith("_created")}
    RECORDED.write_text(json.dumps({"answers": answers, "metrics": kept}, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
