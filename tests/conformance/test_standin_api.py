"""The stand-in engine's answers against those of the real vLLM 0.32 (tests/conformance/record_api.py wrote them down)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.record_api import ARGUMENTS, MODEL, RECORDED, TOOL, ask, exchanges, metrics
from tests.unit.standin import Engine, engine, events

REAL = json.loads(RECORDED.read_text())
DRAFT = '{"model": "%s", "method": "eagle", "num_speculative_tokens": 3}'
CALL = {"tools": [TOOL], "max_tokens": 40}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    (folder / "params.json").write_text('{"max_position_embeddings": 32768}')
    return folder


@pytest.fixture(scope="module")
def text_engine(model: Path) -> Iterator[Engine]:
    """What the real one was recorded with, only faster."""
    speculation = ("--speculative-config", DRAFT % model)
    with engine(model, *ARGUMENTS[2:], *speculation, STANDIN_TOKENS_PER_SECOND="2000") as running:
        yield running


@pytest.fixture(scope="module")
def image_engine(model: Path) -> Iterator[Engine]:
    limits = ("--limit-mm-per-prompt", '{"image": 2}', "--api-key", "secret")
    with engine(model, *limits, STANDIN_TOKENS_PER_SECOND="2000", STANDIN_VERSION="0.33.1") as running:
        yield running


def shape(value: Any) -> Any:
    """Names in their order, types, lengths of lists; what was said does not matter."""
    if isinstance(value, dict):
        return [(name, shape(one)) for name, one in value.items()]
    if isinstance(value, list):
        return [shape(one) for one in value]
    return type(value).__name__


@pytest.mark.parametrize("exchange", exchanges(), ids=lambda exchange: exchange["name"])
def test_answers_are_those_of_the_real_engine(text_engine: Engine, exchange: dict[str, Any]) -> None:
    real, found = REAL["answers"][exchange["name"]], ask(text_engine.address, exchange)
    assert found["status"] == real["status"]
    assert set(found["headers"]) == set(real["headers"])
    for name in ("content-type", "allow", "transfer-encoding", "server", "vary"):
        assert found["headers"].get(name) == real["headers"].get(name)
    if real["status"] >= 400:
        assert re.sub(r"\d+", "N", found["text"]) == re.sub(r"\d+", "N", real["text"])
    elif real["text"].startswith("data: "):
        assert shape(events(found["text"])) == shape(events(real["text"]))
    elif real["text"]:
        assert shape(json.loads(found["text"])) == shape(json.loads(real["text"]))
    else:
        assert found["text"] == ""


def test_metrics_are_those_of_the_real_engine(text_engine: Engine) -> None:
    text_engine.ask()
    found = {name: one for name, one in metrics(text_engine.get("/metrics")).items() if name.startswith("vllm:")}
    wanted = {f"vllm:num_requests_{state}" for state in ("running", "waiting")}
    wanted |= {f"vllm:{kind}_tokens_total" for kind in ("prompt", "generation", "iteration")}
    wanted |= {"vllm:time_to_first_token_seconds", "vllm:spec_decode_num_drafts_total", "vllm:kv_cache_usage_perc"}
    assert wanted <= set(found)
    assert found == {name: REAL["metrics"][name] for name in found}


def test_metrics_count(text_engine: Engine) -> None:
    names = ("generation_tokens_total", "prompt_tokens_total", "time_to_first_token_seconds_count")
    before = [text_engine.metric(name) for name in names]
    steps = text_engine.metric("iteration_tokens_total_count")
    drafts = text_engine.metric("spec_decode_num_drafts_total")
    _, answer = text_engine.ask(max_tokens=7)
    assert answer["usage"]["completion_tokens"] == 7
    prompt = answer["usage"]["prompt_tokens"]
    assert [text_engine.metric(name) for name in names] == [
        one + more for one, more in zip(before, (7, prompt, 1), strict=True)
    ]
    assert text_engine.metric("iteration_tokens_total_count") == steps + 7
    assert text_engine.metric("spec_decode_num_drafts_total") == drafts + 6  # the prompt's step drafts nothing
    assert text_engine.metric("num_requests_running") == 0


@pytest.mark.parametrize(
    ("choice", "content", "reason"),
    [
        ("required", "", "tool_calls"),
        ({"type": "function", "function": {"name": "get_weather"}}, "", "stop"),
        ("auto", None, "tool_calls"),
    ],
)
def test_a_tool_is_called(text_engine: Engine, choice: object, content: str | None, reason: str) -> None:
    asked = CALL | {"tool_choice": choice, "messages": [{"role": "user", "content": "Use get_weather."}]}
    status, answer = text_engine.ask(**asked)
    assert status == 200
    (found,) = answer["choices"]
    assert (found["message"]["content"], found["finish_reason"]) == (content, reason)
    (call,) = found["message"]["tool_calls"]
    assert list(call) == ["id", "type", "function"]
    assert call["function"]["name"] == "get_weather"
    assert list(json.loads(call["function"]["arguments"])) == ["city"]

    streamed = events(text_engine.begin(**asked, stream=True).getresponse().read().decode())
    parts = [one["choices"][0]["delta"].get("tool_calls", [{}])[0].get("function", {}) for one in streamed]
    assert [part["name"] for part in parts if "name" in part] == ["get_weather"]
    assert "".join(part.get("arguments", "") for part in parts) == call["function"]["arguments"]
    assert streamed[-1]["choices"][0]["finish_reason"] == reason


def test_a_call_that_does_not_fit_is_cut(text_engine: Engine) -> None:
    _, answer = text_engine.ask(**CALL | {"tool_choice": "required", "max_tokens": 2})
    (found,) = answer["choices"]
    assert found["finish_reason"] == "length"
    assert "tool_calls" not in found["message"]


def test_reasoning_has_a_field_of_its_own(text_engine: Engine) -> None:
    _, answer = text_engine.ask(reasoning_effort="high", max_tokens=6)
    message = answer["choices"][0]["message"]
    assert message["reasoning"]
    assert message["content"]
    assert answer["usage"]["completion_tokens_details"] == {"reasoning_tokens": 3}
    streamed = events(
        text_engine.begin(reasoning_effort="high", max_tokens=6, stream=True).getresponse().read().decode()
    )
    deltas = [one["choices"][0]["delta"] for one in streamed]
    assert "".join(one.get("reasoning", "") for one in deltas) == message["reasoning"]
    assert "".join(one.get("content", "") for one in deltas) == message["content"]


@pytest.mark.parametrize("effort", ["low", "medium", "max"])
def test_other_efforts_are_refused_as_the_model_does(text_engine: Engine, effort: str) -> None:
    status, answer = text_engine.ask(reasoning_effort=effort)
    assert status == 400
    assert f"got {effort}" in answer["error"]["message"]


def test_an_untold_length_ends_by_itself(text_engine: Engine) -> None:
    _, answer = text_engine.ask(max_tokens=None)
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"]["completion_tokens"] == 64


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [1]},
        {"messages": "Hello"},
        {"messages": [{"role": "user", "content": [{"type": "audio"}]}]},
        {"tools": [{}], "tool_choice": "auto"},
        {"max_tokens": [1]},
        {"n": 0},
        {"n": -1},
        {"stream_options": 1},
    ],
)
def test_no_body_breaks_it(text_engine: Engine, body: dict[str, Any]) -> None:
    status, answer = text_engine.ask(**body)
    assert status == 400
    assert answer["error"]["code"] == 400
    assert text_engine.ask()[0] == 200


def test_images_are_counted(text_engine: Engine, image_engine: Engine) -> None:
    def ask_with(running: Engine, images: int) -> int:
        content = [{"type": "text", "text": "What is this?"}, *[IMAGE] * images]
        connection = running.connect()
        body = json.dumps({"model": MODEL, "max_tokens": 1, "messages": [{"role": "user", "content": content}]})
        headers = {"Content-Type": "application/json", "Authorization": "Bearer secret"}
        connection.request("POST", "/v1/chat/completions", body, headers)
        return connection.getresponse().status

    assert [ask_with(image_engine, images) for images in (0, 2, 3)] == [200, 200, 400]
    assert [ask_with(text_engine, images) for images in (0, 1)] == [200, 400]


def test_keys_guard_the_api_only(image_engine: Engine) -> None:
    assert image_engine.ask()[0] == 401
    assert image_engine.get("/health") == ""
    assert json.loads(image_engine.get("/version")) == {"version": "0.33.1"}


def test_a_body_in_chunks_and_two_requests_at_once(text_engine: Engine) -> None:
    body = json.dumps({"messages": [{"role": "user", "content": "x" * 1000}], "max_tokens": 1}).encode()
    connection = text_engine.connect()
    connection.connect()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:7], body[7:])) + b"0\r\n\r\n"
    first = head + b"Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks
    connection.sock.sendall(first + b"GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    answer = connection.sock.makefile("rb").read().decode()
    assert re.findall(r"HTTP/1.1 (\d+)", answer) == ["100", "200", "200"]
    assert answer.endswith('{"version":"0.32.0"}')


def test_what_is_not_http_is_told_so(text_engine: Engine) -> None:
    connection = text_engine.connect()
    connection.connect()
    connection.sock.sendall(b"SSH-2.0-OpenSSH\r\n")
    answer = connection.sock.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 400 Bad Request")
    assert answer.endswith(b"Invalid HTTP request received.")
