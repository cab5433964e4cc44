"""What the stand-in does as SGLang and not as vLLM: command line, start, answers, failures, SIGTERM.

Its answers one by one are compared with the real engine's in test_standin_api.py. The figures are those of the real 0.5.23.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from barewind.engines import options
from lab import topology
from lab.images import standin_engine
from lab.images.layers import SITE, Layer
from lab.standin.sglang import arguments, settings, startup
from lab.standin.startup import StartError
from tests.conformance import agreement
from tests.conformance.exchanges import NAMED, STRICT
from tests.support.standin import SGLANG, Engine, engine, events, unpack, until, write_model

PARSERS = ("--tool-call-parser", "mistral", "--reasoning-parser", "mistral", "--enable-metrics")
FAST = {"STANDIN_TOKENS_PER_SECOND": "2000"}
ENDLESS = 30000  # tokens: more than any test waits for


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def running(model: Path) -> Iterator[Engine]:
    with engine(model, *PARSERS, kind=SGLANG, **FAST) as served:
        yield served


def status(served: Engine, path: str, key: str = "") -> int:
    """HTTP's status of a page."""
    connection = served.connect()
    connection.request("GET", path, headers={"Authorization": f"Bearer {key}"} if key else {})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


def stream(served: Engine, tokens: int = ENDLESS) -> http.client.HTTPResponse:
    """A stream whose first word has come."""
    answer = served.begin(stream=True, max_tokens=tokens).getresponse()
    for line in answer:
        if b'"content":"This"' in line:
            return answer
    raise AssertionError("the stream ended before its first word")


def loaded(*words: str, devices: Path, **environment: str) -> int:
    """The context length of an engine with these words, or its refusal to start."""
    given = arguments.parse(["--model-path", *words], "0")
    return startup.load(settings.read(given, environment), devices)


# --- Command line ---


@pytest.mark.parametrize("case", [case for case in agreement.CASES + agreement.STRICTER if case.engine == "sglang"])
def test_it_takes_what_sglang_takes(case: agreement.Case, capsys: pytest.CaptureFixture[str]) -> None:
    if case in agreement.STRICTER or not options.check(options.load("sglang"), case.argv):
        arguments.parse(case.argv, "0")
    else:
        with pytest.raises(SystemExit, match="2"):
            arguments.parse(case.argv, "0")
        assert "sglang serve: error: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "dropped", "said"),
    [
        (["--frobnicate"], "", "unrecognized arguments: --frobnicate"),
        (["--tool-call-parser", "mistral"], "--tool-call-parser", "unrecognized arguments: --tool-call-parser mistral"),
    ],
)
def test_an_unknown_option_ends_it_with_status_2(model: Path, words: list[str], dropped: str, said: str) -> None:
    with engine(model, *words, served=False, kind=SGLANG, STANDIN_DROPPED_OPTIONS=dropped) as served:
        assert served.ended() == 2
    assert served.errors.endswith(f"sglang serve: error: {said}\n")


# --- Start ---


def test_without_its_files_it_says_why(model: Path, tmp_path: Path) -> None:
    def refusal(*words: str) -> StartError:
        with pytest.raises(StartError) as caught:
            loaded(*words, devices=tmp_path, STANDIN_ACCELERATORS="none")
        return caught.value

    assert "'/models/nobody'" in str(refusal("/models/nobody"))
    assert str(refusal(str(tmp_path))).startswith(f"ValueError: Unrecognized model in {tmp_path}.")
    (tmp_path / "params.json").write_text("{}")  # vLLM's layout
    assert str(refusal(str(tmp_path))).startswith(f"ValueError: Unrecognized model in {tmp_path}.")
    (tmp_path / "config.json").write_text("{bad")
    assert f"'{tmp_path}/config.json' is not a valid JSON file" in str(refusal(str(tmp_path)))
    (tmp_path / "config.json").write_text('{"model_type": "mistral3"}')
    assert "Couldn't instantiate the backend tokenizer" in str(refusal(str(tmp_path)))
    (tmp_path / "tekken.json").touch()
    weights = refusal(str(tmp_path))
    assert f"Cannot find any model weights with `{tmp_path}`" in str(weights)
    assert weights.status == 137  # found by a child process
    assert "'/models/draft'" in str(refusal(str(model), "--speculative-draft-model-path", "/models/draft"))
    too_long = refusal(str(model), "--context-length", "64Ki")
    assert "context_length (65536) is greater than the derived context_length (32768)" in str(too_long)
    assert too_long.status == 1


def test_a_draft_may_have_mistrals_layout_only(model: Path, tmp_path: Path) -> None:
    (tmp_path / "params.json").write_text("{}")
    (tmp_path / "consolidated.safetensors").touch()
    draft = ("--speculative-draft-model-path", str(tmp_path))
    assert loaded(str(model), *draft, devices=tmp_path, STANDIN_ACCELERATORS="none") == 32768


def test_accelerators_are_counted(model: Path, tmp_path: Path) -> None:
    def start(size: int, *words: str, **environment: str) -> int:
        return loaded(str(model), "--tp-size", str(size), *words, devices=tmp_path, **environment)

    assert start(8, "--device", "cpu") == 32768
    with pytest.raises(StartError, match="No accelerator"):
        start(1)
    for name in ("nvidia0", "nvidia1"):
        (tmp_path / name).touch()
    assert start(2) == 32768
    with pytest.raises(StartError, match="invalid device ordinal"):
        start(8)


def test_it_refuses_connections_then_warms_up_then_is_ready(model: Path) -> None:
    with engine(model, served=False, kind=SGLANG) as served:
        served.logged("Uvicorn running on")
        seen = [(status(served, "/ready"), status(served, "/health"), status(served, "/v1/models"))]
        until(lambda: status(served, "/ready") == 200)
        seen.append((status(served, "/ready"), status(served, "/health"), status(served, "/v1/models")))
        served.logged("The server is fired up and ready to roll!")
    assert seen == [(503, 503, 200), (200, 200, 200)]


def test_sigterm_while_it_starts_is_left_to_the_system(model: Path) -> None:
    with engine(model, served=False, kind=SGLANG, STANDIN_START_SECONDS="60") as served:
        served.logged("Loading")
        served.stop()
        assert served.ended() == -15


# --- Answers ---


def test_health_asks_the_engine_for_a_token(running: Engine) -> None:
    def seconds(page: str) -> float:
        begun = time.monotonic()
        assert status(running, page) == 200
        return time.monotonic() - begun

    assert min(seconds("/ready") for _ in range(9)) < 1  # a busy machine may be late once
    assert seconds("/health") >= 1


@pytest.mark.parametrize("choice", ["required", NAMED["tool_choice"], "auto"])
def test_a_tool_is_called(running: Engine, choice: object) -> None:
    asked = {"tools": [STRICT], "tool_choice": choice, "messages": [{"role": "user", "content": "Use set_unit."}]}
    _, answer = running.ask(**asked, max_tokens=40)
    (found,) = answer["choices"]
    assert (found["finish_reason"], found["matched_stop"], found["message"]["content"]) == ("tool_calls", None, "")
    (call,) = found["message"]["tool_calls"]
    assert list(call) == ["id", "index", "type", "function"]
    assert (call["function"]["name"], json.loads(call["function"]["arguments"])) == ("set_unit", {"unit": "celsius"})

    said = events(running.begin(**asked, max_tokens=40, stream=True).getresponse().read().decode())
    parts = [event["choices"][0]["delta"].get("tool_calls", [{}])[0].get("function", {}) for event in said]
    assert [part["name"] for part in parts if part.get("name")] == ["set_unit"]
    assert "".join(part.get("arguments", "") for part in parts) == call["function"]["arguments"]
    assert said[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_reasoning_has_a_field_of_its_own(running: Engine) -> None:
    _, answer = running.ask(reasoning_effort="high", max_tokens=6)
    message = answer["choices"][0]["message"]
    assert message["reasoning_content"]
    assert message["content"]
    assert answer["usage"]["completion_tokens_details"] == {"reasoning_tokens": 3}
    said = events(running.begin(reasoning_effort="high", max_tokens=6, stream=True).getresponse().read().decode())
    deltas = [event["choices"][0]["delta"] for event in said]
    for field in ("reasoning_content", "content"):
        assert "".join(delta.get(field) or "" for delta in deltas) == message[field]


def test_answers_of_a_stream_have_ids_of_their_own(running: Engine) -> None:
    said = events(running.begin(n=2, stream=True).getresponse().read().decode())
    ids = {(event["id"], event["choices"][0]["index"]) for event in said}
    assert sorted(index for _, index in ids) == [0, 1]
    assert len({id_ for id_, _ in ids}) == 2


def test_any_name_of_a_model_is_taken_but_one_with_an_adapter(running: Engine) -> None:
    assert running.ask(model="nobody")[1]["model"] == "nobody"
    refused, answer = running.ask(model="nobody:adapter")
    assert refused == 400
    assert answer["message"].startswith("LoRA adapter 'adapter' was requested, but LoRA is not enabled.")


def test_fewer_answers_than_none_are_one(running: Engine) -> None:
    status_of, answer = running.ask(n=-1)
    assert (status_of, len(answer["choices"])) == (200, 1)


def test_an_untold_length_ends_by_itself(running: Engine) -> None:
    _, answer = running.ask(max_tokens=None)
    assert (answer["choices"][0]["finish_reason"], answer["choices"][0]["matched_stop"]) == ("stop", 2)
    assert answer["usage"]["completion_tokens"] == 64


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [1]},
        {"messages": [{"role": "user", "content": [{"type": "audio"}]}]},
        {"tools": [{}], "tool_choice": "auto"},
        {"temperature": -1},
        {"tool_choice": {"type": "function"}},
    ],
)
def test_no_body_breaks_it(running: Engine, body: dict[str, Any]) -> None:
    refused, answer = running.ask(**body)
    assert (refused, answer["object"], answer["code"]) == (400, "error", 400)
    assert running.ask()[0] == 200


def test_metrics_count_at_each_step_and_at_the_end(running: Engine) -> None:
    at_each_step, at_the_end = ("realtime_tokens_total", "generation_tokens_total")
    before = [running.metric(name) for name in (at_each_step, at_the_end, "num_requests_total")]
    _, answer = running.ask(max_tokens=7)
    tokens = answer["usage"]["total_tokens"]
    after = [running.metric(name) for name in (at_each_step, at_the_end, "num_requests_total")]
    assert after == [number + more for number, more in zip(before, (tokens, 7, 1), strict=True)]


def test_without_its_option_there_are_no_metrics(model: Path) -> None:
    with engine(model, kind=SGLANG, **FAST) as served:
        assert status(served, "/metrics") == 404


def test_a_key_guards_all_but_what_probes_ask(model: Path) -> None:
    with engine(model, *PARSERS, "--api-key", "secret", kind=SGLANG, STANDIN_VERSION="0.5.99") as served:
        assert served.ask()[0] == 401
        assert [status(served, path) for path in ("/ready", "/health", "/metrics")] == [200, 200, 200]
        assert [status(served, path) for path in ("/v1/models", "/model_info", "/ping")] == [401, 401, 401]
        assert status(served, "/v1/models", key="secret") == 200
        served.logged("server version 0.5.99")
        assert not any("secret" in line for line in served.log)


# --- Batching ---


def test_the_rest_wait_without_an_answer(model: Path) -> None:
    with engine(model, *PARSERS, "--max-running-requests", "2", kind=SGLANG) as served:
        answers = [stream(served), stream(served)]
        third = served.begin(stream=True, max_tokens=1)
        until(lambda: served.metric("num_queue_reqs") == 1)
        assert served.metric("num_running_reqs") == 2
        assert third.sock is not None
        third.sock.setblocking(False)
        with pytest.raises(BlockingIOError):  # headers come with the first token
            third.sock.recv(1)
        third.sock.setblocking(True)
        answers[0].close()  # a client that leaves makes room
        assert events(third.getresponse().read().decode())[-1]["choices"][0]["finish_reason"] == "length"
        until(lambda: served.metric("num_aborted_requests_total") == 1)


# --- Failures ---


def test_crash(model: Path) -> None:
    """Nothing comes for 5 s, then the whole tree of processes is killed, and connections break off."""
    with engine(model, kind=SGLANG, STANDIN_FAIL="crash", STANDIN_FAIL_AFTER="1") as served:
        streamed = stream(served)
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            streamed.read()
        assert served.ended() == 137
    assert "Subprocess scheduler_0 crashed with exit code -9" in served.errors


def test_out_of_memory(model: Path) -> None:
    with engine(model, served=False, kind=SGLANG, STANDIN_FAIL="oom") as served:
        assert served.ended() == 137
    assert "torch.OutOfMemoryError: CUDA out of memory" in served.errors


def test_errors_while_it_is_ready(model: Path) -> None:
    with engine(model, kind=SGLANG, STANDIN_FAIL="errors") as served:
        answer = served.ask()
        assert (answer[0], answer[1]["object"], answer[1]["code"]) == (500, "error", 500)
        assert status(served, "/ready") == 200


def test_hang(model: Path) -> None:
    with engine(model, *PARSERS, kind=SGLANG, STANDIN_FAIL="hang", SGLANG_HEALTH_CHECK_TIMEOUT="1") as served:
        asked = served.begin()
        until(lambda: served.metric("num_running_reqs") == 1)
        assert status(served, "/ready") == 200
        assert status(served, "/health") == 503
        assert served.metric("realtime_tokens_total") == 0
        asked.close()


def test_garbage_no_tools_and_half_the_speed(model: Path) -> None:
    with engine(model, kind=SGLANG, STANDIN_FAIL="garbage", **FAST) as served:
        assert served.ask()[1]["choices"][0]["message"]["content"] == "!!!!"
    with engine(model, *PARSERS, kind=SGLANG, STANDIN_FAIL="no-tools", **FAST) as served:
        assert "tool_calls" not in served.ask(tools=[STRICT], **NAMED)[1]["choices"][0]["message"]
    with engine(model, kind=SGLANG, STANDIN_FAIL="slow", STANDIN_TOKENS_PER_SECOND="100") as served:
        begun = time.monotonic()
        served.ask(max_tokens=10)
        assert time.monotonic() - begun >= 0.2  # 0.1 s at full speed


# --- SIGTERM ---


def test_at_sigterm_requests_end_and_new_ones_are_taken(model: Path) -> None:
    pace = {"STANDIN_TOKENS_PER_SECOND": "100", "STANDIN_STOP_SECONDS": "0.5"}
    with engine(model, *PARSERS, kind=SGLANG, **pace) as served:
        streamed, idle = stream(served, tokens=150), served.connect()
        idle.request("GET", "/ready")
        idle.getresponse().read()
        served.stop()
        until(lambda: status(served, "/ready") == 503)
        pages = ("/ready", "/health", "/ping", "/v1/models", "/metrics")
        assert [status(served, page) for page in pages] == [503, 503, 503, 200, 200]
        assert served.ask(max_tokens=2)[0] == 200
        assert events(streamed.read().decode())[-1]["choices"][0]["finish_reason"] == "length"
        assert served.ended() == 0
        assert idle.sock is not None
        assert idle.sock.recv(1) == b""


def test_requests_can_hang_at_sigterm(model: Path) -> None:
    with engine(model, kind=SGLANG, STANDIN_FAIL="hang-on-stop", STANDIN_STOP_SECONDS="0.1") as served:
        streamed = stream(served)
        served.stop()
        until(lambda: status(served, "/ready") == 503)
        served.logged("Remaining number of requests 1.")
        assert served.process.poll() is None
        streamed.close()
        assert served.ended() == 0


def test_a_port_is_used_once(model: Path) -> None:
    with engine(model, kind=SGLANG) as served:
        with engine(model, "--port", served.address.rpartition(":")[2], served=False, kind=SGLANG) as second:
            assert second.ended() == 1
        assert "address already in use" in second.errors


# --- Image ---


def test_the_image_says_what_upstreams_says() -> None:
    stack = [Layer(f"sha256:{n}", n, f"sha256:d{n}") for n in range(3)]
    found = standin_engine.config(stack, standin_engine.SGLANG)
    assert found["config"]["Entrypoint"] is None
    assert {"CUDA_VERSION=13.0.1", "SGLANG_VERSION=0.5.23"} <= set(found["config"]["Env"])
    assert found["rootfs"] == standin_engine.config(stack)["rootfs"]
    image = standin_engine.SGLANG
    assert f"{topology.REGISTRY}/{image.repository}:{image.tag}" == topology.STANDIN_SGLANG_IMAGE


def test_the_image_runs_the_command_of_production(tmp_path: Path) -> None:
    unpack(tmp_path)
    launcher = tmp_path / SITE / "sglang" / "launch_server.py"
    launcher.write_text(launcher.read_text().replace('"/usr', f'"{tmp_path}/usr'))
    paths = [str(tmp_path), str(tmp_path / SITE)]
    script = (
        f"import runpy, sys; sys.path[:0] = {paths!r}; runpy.run_module('sglang.launch_server', run_name='__main__')"
    )
    said = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script, "--model-path", "m", "--bogus"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 2
    assert said.stderr.endswith("unrecognized arguments: --bogus\n")


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")  # argparse wraps its words
