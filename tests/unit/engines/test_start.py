"""Real lines of engines' logs -> how long the phases of a start took."""

from __future__ import annotations

import pytest

from barewind.engines import ENGINES, start
from barewind.engines.start import Line

STARTED = 1796028609.9

# vLLM 0.32 on the lab's processors, with a draft and without compilation.
VLLM_EAGER = [
    (1.4, "W1130 08:50:11.455000 1 torch/_library/triton.py:53] Triton not available, find_triton_kernels = []"),
    (19.9, "(Worker pid=30) INFO 11-30 08:50:29 [default_loader.py:501] Loading weights took 0.74 seconds"),
    (20.1, "(Worker pid=30) INFO 11-30 08:50:30 [default_loader.py:501] Loading weights took 0.11 seconds"),
    (
        22.1,
        "(EngineCore pid=24) INFO 11-30 08:50:32 [core.py:402] init engine (profile, create kv cache, warmup model) "
        "took 0.67 s",
    ),
    (23.4, "(APIServer pid=1) INFO:     Application startup complete."),
]
# Two processes, compiled and captured: lines as 0.32 writes them (default_loader.py, monitor.py, gpu_model_runner.py, core.py).
VLLM_COMPILED = [
    (6.2, "(APIServer pid=1) INFO 11-30 08:50:11 [api_utils.py:347]"),
    (40.0, "(Worker_TP0 pid=213) INFO 11-30 08:50:40 [default_loader.py:501] Loading weights took 24.58 seconds"),
    (41.0, "(Worker_TP1 pid=214) INFO 11-30 08:50:41 [default_loader.py:501] Loading weights took 25.71 seconds"),
    (42.0, "(Worker_TP0 pid=213) INFO 11-30 08:50:42 [default_loader.py:501] Loading weights took 1.02 seconds"),
    (42.1, "(Worker_TP1 pid=214) INFO 11-30 08:50:42 [default_loader.py:501] Loading weights took 0.99 seconds"),
    (
        43.0,
        "(Worker_TP0 pid=213) INFO 11-30 08:50:43 [gpu_model_runner.py:5150] Model loading took 65.31 GiB memory and 27 seconds",
    ),
    (63.0, "(Worker_TP0 pid=213) INFO 11-30 08:51:03 [monitor.py:76] torch.compile took 20.14 s in total"),
    (
        70.0,
        "(Worker_TP0 pid=213) INFO 11-30 08:51:10 [gpu_model_runner.py:6582] Graph capturing finished in 5 secs, took 0.55 GiB",
    ),
    (
        72.0,
        "(EngineCore pid=80) INFO 11-30 08:51:12 [core.py:395] init engine (profile, create kv cache, warmup model) "
        "took 42.35 s (compilation: 20.14 s)",
    ),
    (92.0, "(APIServer pid=1) INFO:     Application startup complete."),
]
# https://github.com/vllm-project/vllm, a start of V0: the unit's seconds have another name.
VLLM_OLD = [
    (1.0, "INFO 03-01 10:09:30 api_server.py:912] vLLM API server version 0.7.3"),
    (28.0, "INFO 03-01 10:09:58 model_runner.py:1562] Graph capturing finished in 18 secs, took 0.20 GiB"),
    (
        28.0,
        "INFO 03-01 10:09:58 llm_engine.py:431] init engine (profile, create kv cache, warmup model) took 20.92 seconds",
    ),
]
SGLANG_TWO = [
    (4.1, "[2026-02-26 16:30:50] WARNING server_args.py:900: DP size 1"),
    (
        605.5,
        "[2026-02-26 16:41:05 TP1] Load weight end. elapsed=605.50 s, type=KimiK25ForConditionalGeneration, "
        "dtype=torch.bfloat16, avail mem=210.38 GB, mem usage=73.58 GB.",
    ),
    (
        606.3,
        "[2026-02-26 16:41:06 TP3] Load weight end. elapsed=606.34 s, type=KimiK25ForConditionalGeneration, "
        "dtype=torch.bfloat16, avail mem=209.96 GB, mem usage=73.58 GB.",
    ),
    (
        661.0,
        "[2026-02-26 16:42:01 TP1] Capture target decode CUDA graph end. elapsed=22.18 s, mem usage=1.91 GB, avail mem=14.18 GB.",
    ),
    (
        664.0,
        "[2026-02-26 16:42:04 TP1] Capture draft extend CUDA graph end. step=1, elapsed=3.10 s, mem usage=0.10 GB, "
        "avail mem=14.01 GB.",
    ),
    (666.0, "[2026-02-26 16:42:06] INFO:     Application startup complete."),
    (671.5, "[2026-02-26 16:42:11] The server is fired up and ready to roll!"),
]
# Of 0.5.10 and older.
SGLANG_OLD = [
    (3.0, "[2026-05-15 08:38:00] server_args=ServerArgs(model_path='/models/m')"),
    (
        98.0,
        "[2026-05-15 08:40:32 TP0] Capture cuda graph end. Time elapsed: 54.61 s. mem usage=1.93 GB. avail mem=8.16 GB.",
    ),
    (
        98.1,
        "[2026-05-15 08:40:32 TP1] Capture cuda graph end. Time elapsed: 54.53 s. mem usage=1.93 GB. avail mem=8.11 GB.",
    ),
]


def phases(engine: str, lines: list[tuple[float, str]]) -> dict[str, float]:
    """What is read of lines, each with the seconds after the container's start at which it was written."""
    log = ENGINES[engine].log
    return start.read([Line(at=STARTED + at, text=text) for at, text in lines], STARTED, log.phases, log.process)


@pytest.mark.parametrize(
    ("engine", "lines", "expected"),
    [
        ("vllm", VLLM_EAGER, {"first_line": 1.4, "weights": 0.8, "warm_up": 0.7, "ready": 23.4}),
        (
            "vllm",
            VLLM_COMPILED,
            {"first_line": 6.2, "weights": 26.7, "compile": 20.1, "graphs": 5.0, "warm_up": 17.2, "ready": 92.0},
        ),
        ("vllm", VLLM_OLD, {"first_line": 1.0, "graphs": 18.0, "warm_up": 2.9}),
        ("sglang", SGLANG_TWO, {"first_line": 4.1, "weights": 606.3, "graphs": 25.3, "warm_up": 5.5, "ready": 671.5}),
        ("sglang", SGLANG_OLD, {"first_line": 3.0, "graphs": 54.6}),
        ("vllm", [(1.0, "Error: No such container: barewind-engine")], {}),
        ("vllm", [(-40.0, "(APIServer pid=1) INFO:     Application startup complete.")], {}),
        ("sglang", [], {}),
    ],
    ids=["eager", "compiled", "vllm of V0", "sglang", "sglang of before", "no phase", "the start before", "no log"],
)
def test_phases_are_read(engine: str, lines: list[tuple[float, str]], expected: dict[str, float]) -> None:
    found = phases(engine, lines)
    assert found == pytest.approx(expected, abs=0.06)
    assert list(found) == list(expected)


def test_they_are_described_in_a_line() -> None:
    assert start.describe(phases("vllm", VLLM_COMPILED)) == (
        "92 s: first line 6.2 s, weights 27 s, compile 20 s, graphs 5.0 s, warm up 17 s"
    )
    assert start.describe({"graphs": 54.6}) == "graphs 55 s"


@pytest.mark.parametrize(
    ("now", "before", "told"),
    [
        (
            {"weights": 180.0, "ready": 250.0},
            {"weights": 30.0, "ready": 100.0},
            "took 250 s to be ready, the start before it 100 s: weights grew most, from 30 s to 180 s",
        ),
        (
            {"compile": 90.0, "weights": 30.0, "ready": 200.0},
            {"weights": 30.0, "ready": 100.0},
            "took 200 s to be ready, the start before it 100 s: compile grew most, from 0.0 s to 90 s",
        ),
        (
            {"weights": 30.0, "ready": 230.0},
            {"weights": 30.0, "ready": 100.0},
            "took 230 s to be ready, the start before it 100 s: what the log does not tell of grew most, by 130 s",
        ),
        ({"weights": 100.0, "ready": 199.0}, {"weights": 30.0, "ready": 100.0}, ""),
        ({"weights": 4.0, "ready": 9.0}, {"weights": 1.0, "ready": 3.0}, ""),  # a few seconds
        ({"weights": 400.0, "ready": 900.0}, {}, ""),
        ({"weights": 400.0}, {"weights": 1.0, "ready": 3.0}, ""),
    ],
)
def test_a_start_that_took_twice_the_one_before_is_told(
    now: dict[str, float], before: dict[str, float], told: str
) -> None:
    assert start.slower(now, before) == told
