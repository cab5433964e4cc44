"""Real lines of engines' logs from public reports -> what people are told: a known reason or the error itself, nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from barewind.documents import read_yaml
from barewind.gate.explain import explain, last_error

REPORTS: list[tuple[str, dict[str, Any]]] = [
    (file.stem, report)
    for file in sorted((Path(__file__).parent / "logs").glob("*.yaml"))
    for report in read_yaml(file.read_text())
]
LINES = sum(len(report["log"]) for _, report in REPORTS)


def test_there_are_enough_of_both_engines_and_both_vendors() -> None:
    assert len(REPORTS) >= 60
    assert LINES >= 90
    for engine in ("vllm", "sglang"):
        own = [report for name, report in REPORTS if name == engine]
        assert len(own) >= 20
        assert sum(report.get("rocm", False) for report in own) >= 5
    assert {tuple(sorted(report.keys() - {"rocm"})) for _, report in REPORTS} == {
        ("from", "log", "why"),
        ("from", "last", "log"),
    }


@pytest.mark.parametrize(
    ("engine", "report"), REPORTS, ids=[f"{name}-{number}" for number, (name, _) in enumerate(REPORTS)]
)
def test_a_public_report(engine: str, report: dict[str, Any]) -> None:
    reason = explain(report["log"], engine)
    if "why" in report:
        assert reason is not None, last_error(report["log"], engine)
        assert reason.why.startswith(report["why"])
        assert reason.remedy
        assert reason.line
    else:
        assert reason is None, reason
        assert last_error(report["log"], engine) == report["last"]


VLLM = [
    "(Worker_TP1 pid=213) ERROR 01-08 11:19:33 [multiproc_executor.py:1018] WorkerProc hit an exception.",
    "(Worker_TP1 pid=213) ERROR 01-08 11:19:33 [multiproc_executor.py:1018] KeyError: 'layers.87.scale'",
    "(Worker_TP0 pid=212) ERROR 01-08 11:19:34 [multiproc_executor.py:1018] ConnectionResetError: [Errno 104] peer",
    "(Worker_TP1 pid=213) ERROR 01-08 11:19:34 [multiproc_executor.py:1018] ",
    "(Worker_TP1 pid=213) ERROR 01-08 11:19:34 [multiproc_executor.py:1018] During handling of the above exception, another",
    "(Worker_TP1 pid=213) ERROR 01-08 11:19:34 [multiproc_executor.py:1018] ValueError: no scale for layer 87",
    "(EngineCore_DP0 pid=80) ERROR 01-08 11:19:35 [core.py:866] EngineCore failed to start.",
    "(EngineCore_DP0 pid=80) ERROR 01-08 11:19:35 [core.py:866] Exception: WorkerProc initialization failed due to an exception "
    "in a background process. See stack trace for root cause.",
    "(APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}",
    "(APIServer pid=1) SystemExit: 1",
]
SGLANG = [
    "[2026-05-28 00:11:09 DP0 TP3 EP3] Scheduler hit an exception: Traceback (most recent call last):",
    '  File "/sgl-workspace/sglang/python/sglang/srt/managers/scheduler.py", line 3985, in run_scheduler_process',
    "KeyError: 'layers.87.scale'",
    "",
    "During handling of the above exception, another exception occurred:",
    "ValueError: no scale for layer 87",
    "",
    "[2026-05-28 00:11:10 DP0 TP0 EP0] Scheduler hit an exception: Traceback (most recent call last):",
    "ConnectionResetError: [Errno 104] peer",
    "[2026-05-28 00:11:10] Received sigquit from a child process. It usually means the child failed.",
    "RuntimeError: Rank 3 scheduler died during initialization (exit code: -3). If exit code is -9 (SIGKILL), a common cause is "
    "the OS OOM killer. Run `dmesg -T | grep -i oom` to check.",
    "EOFError",
]


@pytest.mark.parametrize(("engine", "log"), [("vllm", VLLM), ("sglang", SGLANG)])
def test_the_worker_that_failed_first_is_told_of_not_who_reports_it(engine: str, log: list[str]) -> None:
    assert explain(log, engine) is None
    assert last_error(log, engine) == "ValueError: no scale for layer 87"


def test_a_scheduler_that_the_kernel_killed() -> None:
    line = "RuntimeError: Rank 0 scheduler died during initialization (exit code: -9). If exit code is -9 (SIGKILL), a common"
    assert str(explain([line], "sglang")).startswith("out of memory: the host's own memory does not suffice")


@pytest.mark.parametrize(
    "line",
    [
        "INFO 11-22 a word about CUDA out of memory",
        "(APIServer pid=9811) WARNING 11-22 09:25:23 [system_utils.py:255] NCCL error: this is only an example",
        "(APIServer pid=1) (EngineCore_DP0 pid=68) INFO 02-06 16:34:06 [core.py:936] address already in use",
        "[2025-06-27 19:02:10] INFO:     CUDA out of memory",
        "[2025-06-27 19:02:10 TP0] WARNING: CUDA out of memory",
        "2024-01-22 14:32:19,671 INFO worker.py:1540 -- CUDA out of memory",
        "2024-01-22 14:32:19,671 - INFO - flashinfer.jit: CUDA out of memory",
        "2024-01-22 14:32:19.671 | WARNING | x - CUDA out of memory",
        "host:213:213 [1] NCCL INFO NCCL error: none",
        'INFO:     10.0.0.9:1234 - "POST /v1/chat/completions HTTP/1.1" 401 Unauthorized',
        "WARNING:sglang.srt.server_args:CUDA out of memory",
    ],
)
@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_levels_are_read_where_loggers_write_them(engine: str, line: str) -> None:
    assert explain([line], engine) is None
    assert last_error([line], engine) is None
