"""Write down what a real engine answers, for the stand-in to be held to: `python -m tests.conformance.record_api ENGINE URL`.

URL is a running engine of the recorded version with the lab's model, started as its `Recording` says (vLLM with the lab's draft
too: tests/conformance/test_standin_api.py starts the stand-in with the same). Its words are random and left out of every
comparison; names, order, types and errors are not.
"""

from __future__ import annotations

import http.client
import json
import re
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.conformance.exchanges import RECORDINGS, Recording

# What tells of the machine it was recorded on -> what is written instead: the model's folder, where SGLang's image has SGLang.
LOCAL = (
    (r'"(root|model_path|tokenizer_path)":"/[^"]*"', r'"\1":"/models/x"'),
    (r'File \\"[^"\\]*/sglang/srt/', r'File \\"/sgl-workspace/sglang/python/sglang/srt/'),
)


def answers_of(recording: Recording) -> dict[str, Any]:
    """What was written down of an engine: {"answers": by exchange, "metrics": by name}."""
    document: dict[str, Any] = json.loads(_file(recording).read_text())
    return document


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
    figures: dict[str, dict[str, Any]] = {}
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE):
        samples = re.findall(rf"^{re.escape(name)}(?:_bucket)?{{(.*)}} \S+$", text, re.MULTILINE)
        labels = [re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', sample) for sample in samples]
        bounds = [value for sample in labels for label, value in sample if label == "le"]
        names = [label for label, _ in labels[0]] if labels else []
        figures[name] = {"type": kind, "labels": names, "bounds": list(dict.fromkeys(bounds))}
    return figures


def main() -> None:
    """Ask for everything and write it down."""
    engine, url = sys.argv[1:]
    recording, address = RECORDINGS[engine], urlsplit(url).netloc
    asked = recording.exchanges()
    for exchange in asked:  # a first time, because first answers of a cold engine are no measure
        ask(address, exchange)
    answers = {exchange["name"]: ask(address, exchange) for exchange in asked}
    for answer in answers.values():
        for pattern, replacement in LOCAL:
            answer["text"] = re.sub(pattern, replacement, answer["text"])
    _leave(address, recording)
    figures = metrics(_metrics(address))
    kept = {
        name: figure
        for name, figure in figures.items()
        if name.startswith(recording.metrics) and not name.endswith("_created")
    }
    document = json.dumps({"answers": answers, "metrics": kept}, indent=1, ensure_ascii=False)
    _file(recording).write_text(f"{document}\n")


def _leave(address: str, recording: Recording) -> None:
    """Leave an answer before it has ended: what counts that is there only once it has happened."""
    body = json.dumps(recording.exchanges()[-1]["body"] | {"stream": True, "max_tokens": 1000})
    connection = http.client.HTTPConnection(address, timeout=120)
    connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
    connection.getresponse().read(1)
    connection.close()
    while not re.search(r"^\S+num_aborted_requests_total|^vllm:", _metrics(address), re.MULTILINE):
        time.sleep(0.1)


def _metrics(address: str) -> str:
    text: str = ask(address, {"method": "GET", "path": "/metrics"})["text"]
    return text


def _file(recording: Recording) -> Path:
    return Path(__file__).parent / "expected" / f"{recording.engine}-{recording.version}.json"


if __name__ == "__main__":
    main()
