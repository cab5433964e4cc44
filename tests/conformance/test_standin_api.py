"""The stand-in engine's answers against those of the real vLLM 0.32 (tests/conformance/record_api.py wrote them down).

What is the same with SGLang's is tested for both; what only SGLang does is in test_standin_sglang.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from barewind.engines import ENGINES
from tests.conformance.exchanges import MODEL, RECORDINGS, SGLANG, TOOL, VLLM
from tests.conformance.record_api import answers_of, ask, metrics
from tests.support import standin
from tests.support.standin import Engine, engine, events, until, write_model

REAL = {name: answers_of(recording) for name, recording in RECORDINGS.items()}
DRAFT = '{"model": "%s", "method": "eagle", "num_speculative_tokens": 3}'
CALL = {"tools": [TOOL], "max_tokens": 40}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def text_engine(model: Path) -> Iterator[Engine]:
    """What the real one was recorded with, only faster."""
    speculation = ("--speculative-config", DRAFT % model)
    with engine(model, *VLLM.arguments[2:], *speculation, STANDIN_TOKENS_PER_SECOND="2000") as running:
        yield running


@pytest.fixture(scope="module")
def engines(text_engine: Engine, model: Path) -> Iterator[dict[str, Engine]]:
    """Both engines, as the real ones were recorded."""
    arguments = SGLANG.arguments[2:]
    with engine(model, *arguments, kind=standin.SGLANG, STANDIN_TOKENS_PER_SECOND="2000") as running:
        yield {"vllm": text_engine, "sglang": running}


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


EXCHANGES = [(name, exchange) for name, recording in RECORDINGS.items() for exchange in recording.exchanges()]
# The real model's random words decide how many events there are and of which kind: each must be one that it has sent.
WILD = {("sglang", f"/v1/chat/completions {name}") for name in ("reasoning stream", "tool named stream")}
LEFT_OUT = {"embedding"}  # of /model_info


@pytest.mark.parametrize(
    ("name", "exchange"), EXCHANGES, ids=[f"{name} {exchange['name']}" for name, exchange in EXCHANGES]
)
def test_answers_are_those_of_the_real_engine(engines: dict[str, Engine], name: str, exchange: dict[str, Any]) -> None:
    real, found = REAL[name]["answers"][exchange["name"]], ask(engines[name].address, exchange)
    assert found["status"] == real["status"]
    assert set(found["headers"]) == set(real["headers"])
    for header in ("content-type", "allow", "transfer-encoding", "server", "vary"):
        assert found["headers"].get(header) == real["headers"].get(header)
    if real["status"] >= 400:
        assert re.sub(r"\d+", "N", found["text"]) == re.sub(r"\d+", "N", real["text"])
    elif (name, exchange["name"]) in WILD:
        known = [shape(event) for answer in REAL[name]["answers"].values() for event in streamed(answer["text"])]
        sent = events(found["text"])
        assert sent
        assert all(shape(event) in known for event in sent)
    elif real["text"].startswith("data: "):
        assert shape(events(found["text"])) == shape(events(real["text"]))
    elif real["text"]:
        wanted = json.loads(real["text"])
        if exchange["path"].endswith("model_info"):
            wanted = {key: value for key, value in wanted.items() if key not in LEFT_OUT}
        assert shape(json.loads(found["text"])) == shape(wanted)
    else:
        assert found["text"] == ""


def streamed(text: str) -> list[dict[str, Any]]:
    """The events of an answer; none if it was no stream."""
    return events(text) if text.startswith("data: ") else []


# What dashboards read, as far as it is there without an accident.
WANTED = {
    "vllm": (
        *("num_requests_running", "num_requests_waiting", "prompt_tokens_total", "generation_tokens_total"),
        *(
            "iteration_tokens_total",
            "time_to_first_token_seconds",
            "spec_decode_num_drafts_total",
            "kv_cache_usage_perc",
        ),
    ),
    "sglang": (
        *("num_running_reqs", "num_queue_reqs", "token_usage", "realtime_tokens_total", "time_to_first_token_seconds"),
        *("request_time_per_output_token_seconds", "inter_token_latency_seconds", "e2e_request_latency_seconds"),
        *("queue_time_seconds", "num_requests_total", "num_aborted_requests_total", "spec_accept_rate"),
        *("spec_accept_length", "prompt_tokens_total", "generation_tokens_total"),
    ),
}


@pytest.mark.parametrize("name", RECORDINGS)
def test_metrics_are_those_of_the_real_engine(engines: dict[str, Engine], name: str) -> None:
    running = engines[name]
    running.ask()

    def abandoned() -> bool:
        """Whether a client has left before its end; on a busy machine all may have been generated by then."""
        left = running.begin(stream=True, max_tokens=1500)
        left.getresponse().read(1)
        left.close()
        until(lambda: running.metric(ENGINES[name].metric_names("requests_running")[0].partition(":")[2]) == 0)
        return re.search("abort.* [1-9]", running.get("/metrics")) is not None

    until(abandoned)
    prefix = RECORDINGS[name].metrics
    found = {key: figure for key, figure in metrics(running.get("/metrics")).items() if key.startswith(prefix)}
    assert {f"{prefix}{wanted}" for wanted in WANTED[name]} <= set(found)
    assert found == {key: REAL[name]["metrics"][key] for key in found}


@pytest.mark.parametrize("name", RECORDINGS)
def test_what_barewind_knows_of_an_engine_is_what_it_answers(engines: dict[str, Engine], name: str) -> None:
    known, running = ENGINES[name], engines[name]
    for path in (known.health_path, known.ready_path, known.models_path, known.metrics.path):
        running.get(path)
    gauges = {*known.metric_names("requests_running"), *known.metric_names("requests_waiting")}
    assert gauges <= set(metrics(running.get(known.metrics.path)))
    assert running.ask(path=known.chat_path)[1]["choices"][0]["message"].keys() >= {"content", known.reasoning_field}
    thinking = running.ask(path=known.chat_path, reasoning_effort="high", max_tokens=6)[1]["choices"][0]["message"]
    assert thinking[known.reasoning_field]


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


def test_a_balancers_check_in_http_1_0_is_answered_and_ends(text_engine: Engine) -> None:
    connection = text_engine.connect()
    connection.connect()
    connection.sock.sendall(b"GET /health HTTP/1.0\r\n\r\n")
    answer = connection.sock.makefile("rb").read().decode().lower()
    assert answer.startswith("http/1.1 200 ok\r\n")
    assert "\r\nconnection: close\r\n" in answer


def test_what_is_not_http_is_told_so(text_engine: Engine) -> None:
    connection = text_engine.connect()
    connection.connect()
    connection.sock.sendall(b"SSH-2.0-OpenSSH\r\n")
    answer = connection.sock.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 400 Bad Request")
    assert answer.endswith(b"Invalid HTTP request received.")
