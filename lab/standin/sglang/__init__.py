"""SGLang 0.5.23, as the stand-in imitates it."""

import time

from lab.standin.dialect import Crash, Dialect, Stop
from lab.standin.settings import Settings
from lab.standin.sglang import answer, arguments, pages, question, settings, startup
from lab.standin.sglang.metrics import SglangMetrics

OPEN = ("/health", "/ready", "/metrics")  # what begins so needs no key


def _metrics(settings: Settings) -> SglangMetrics:
    return SglangMetrics(settings.names[0], settings.draft_tokens, settings.max_num_seqs)


def _line(text: str) -> str:
    return f"[{time.strftime('%Y-%m-%d %H:%M:%S')}] {text}"


DIALECT = Dialect(
    name="sglang",
    program="sglang serve",
    version=settings.VERSION,
    options=arguments.FILE,
    parse=arguments.parse,
    settings=settings.read,
    load=startup.load,
    read=question.read,
    answer=answer.SglangAnswer,
    metrics=_metrics,
    pages=pages.PAGES,
    below=pages.BELOW,
    guarded=lambda path: not path.startswith(OPEN),
    unauthorized=b'{"error":"Unauthorized"}',
    error=question.error,
    invalid=lambda error: question.error(400, f"1 validation error:\n  {error!r}", "Bad Request"),
    failed="Internal server error: the engine has failed",
    refusal="",  # it takes requests until its end
    crash=Crash(
        "Subprocess scheduler_0 crashed with exit code -9. Triggering SIGQUIT for cleanup...\n"
        "SIGQUIT received. It usually means one child failed.",
        status=137,
        answers=False,
        silence=5,
    ),
    stop=Stop(drains=True, starting=None, farewell="INFO:     Application shutdown complete."),
    begins_early=False,
    warm_up=0.2,  # the real one's takes 1 to 3 s on two cores
    line=_line,
    uvicorn=_line,
    error_line=_line,
    taken="[Errno {error.errno}] error while attempting to bind on address ('{host}', {port}): address already in use",
    greeting="server version {version} (stand-in: it computes nothing)",
    serving="INFO:     Uvicorn running on http://{address} (Press CTRL+C to quit)",
    warm="The server is fired up and ready to roll!",
)
