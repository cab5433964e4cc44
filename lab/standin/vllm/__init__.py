"""vLLM 0.32, as the stand-in imitates it."""

import os
import time

from lab.standin.dialect import Crash, Dialect, Stop
from lab.standin.settings import Settings
from lab.standin.vllm import answer, arguments, pages, question, settings, startup
from lab.standin.vllm.metrics import VllmMetrics


def _metrics(settings: Settings) -> VllmMetrics:
    return VllmMetrics(settings.names[0], settings.draft_tokens, settings.max_num_seqs)


def _line(text: str) -> str:
    return f"(APIServer pid={os.getpid()}) INFO {time.strftime('%m-%d %H:%M:%S')} [standin] {text}"


DIALECT = Dialect(
    name="vllm",
    program="vllm serve",
    version=settings.VERSION,
    options=arguments.FILE,
    parse=arguments.parse,
    settings=settings.read,
    load=startup.load,
    read=question.read,
    answer=answer.VllmAnswer,
    metrics=_metrics,
    pages=pages.PAGES,
    posted=("/ping",),
    uncounted=("/metrics", "/health", "/load", "/ping", "/version"),
    guarded=lambda path: path.startswith("/v1"),
    unauthorized=b'{"error": "Unauthorized"}',
    error=answer.error,
    invalid=lambda error: answer.error(400, f"1 validation error:\n  {error!r}", "Bad Request"),
    failed=answer.DEAD,
    refusal="cannot schedule new futures after shutdown",
    crash=Crash(
        "vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue. See stack trace (above) for the root "
        "cause.",
        status=1,
        answers=True,
    ),
    stop=Stop(
        drains=False,
        starting=130,  # as Python's on SIGINT
        farewell="[shutdown] API server: stopped",
    ),
    line=_line,
    uvicorn=lambda text: text,
    error_line=lambda text: f"(APIServer pid={os.getpid()}) {text}",
    taken="OSError: {error}",
    greeting="vLLM API server version {version} (stand-in: it computes nothing)",
    serving="Starting vLLM server on http://{address}",
    warm="INFO:     Application startup complete.",
)
