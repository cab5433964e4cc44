"""`vllm serve MODEL OPTIONS`: from the command line to the last answer."""

import argparse
import asyncio
import os
import signal
import socket
import sys
import time

from lab.standin import arguments
from lab.standin import settings as settings_
from lab.standin.server import Server
from lab.standin.settings import Settings
from lab.standin.startup import StartError, load

GOODBYE = 1  # seconds that answers on their way have at the end
INTERRUPTED = 130  # exit status, as Python's on SIGINT
DEAD = "vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue. See stack trace (above) for the root cause."


def main() -> int:
    """Serve until told to stop; returns the exit status."""
    given = arguments.parse(
        sys.argv[1:], settings_.version(os.environ), os.environ.get("STANDIN_DROPPED_OPTIONS", "").split()
    )
    try:
        settings = settings_.read(given, os.environ)
    except settings_.SettingsError as error:
        print(f"vllm serve (stand-in): {error}", file=sys.stderr)
        return 2
    # From here on also as process 1 of a container, which ignores signals that nobody handles.
    signal.signal(signal.SIGTERM, _interrupted)
    signal.signal(signal.SIGINT, _interrupted)
    log(f"vLLM API server version {settings.version} (stand-in: it computes nothing)")
    log(f"non-default args: {_given(given)}")
    try:
        listener = _bind(settings)
        context = load(settings)
        log(f"Loading {settings.model}")
        return asyncio.run(_serve(settings, context, listener))
    except (StartError, OSError) as error:
        text = f"OSError: {error}" if isinstance(error, OSError) else str(error)
        print(f"(APIServer pid={os.getpid()}) Traceback (most recent call last):\n{text}", file=sys.stderr)
        return 1


def log(text: str) -> None:
    """A line in vLLM's log."""
    print(f"(APIServer pid={os.getpid()}) INFO {time.strftime('%m-%d %H:%M:%S')} [standin] {text}", flush=True)


def _given(given: argparse.Namespace) -> dict[str, object]:
    hidden = ("subparser", "api_key")
    return {
        name: value
        for name, value in vars(given).items()
        if value is not None and value is not False and name not in hidden
    }


def _interrupted(*_: object) -> None:
    sys.exit(INTERRUPTED)


def _bind(settings: Settings) -> socket.socket:
    """Take the port, but take no connections yet: vLLM refuses them until it is loaded."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((settings.host, settings.port))
    return listener


async def _serve(settings: Settings, context: int, listener: socket.socket) -> int:
    await asyncio.sleep(settings.start_seconds)
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    server = Server(settings, context)
    stepping = asyncio.create_task(server.engine.run())
    listening = await loop.create_server(server.connection, sock=listener, backlog=2048)
    host, port = listener.getsockname()[:2]
    log(f"Starting vLLM server on http://{f'[{host}]' if ':' in host else host}:{port}")
    print("INFO:     Application startup complete.", flush=True)
    crashed = not await _until(stop, settings.fail_after if settings.fail == "crash" else None)
    patience: float = GOODBYE
    if crashed:
        print(f"(APIServer pid={os.getpid()}) {DEAD}", file=sys.stderr)
        server.engine.abort("error")
    else:
        patience = await _end_requests(settings, server)
    stepping.cancel()
    listening.close()
    await server.close(patience)
    log("[shutdown] API server: stopped")
    return 1 if crashed else 0


async def _until(stop: asyncio.Event, limit: float | None) -> bool:
    """Whether the signal to stop came within so many seconds."""
    try:
        await asyncio.wait_for(stop.wait(), limit)
    except TimeoutError:
        return False
    return True


async def _end_requests(settings: Settings, server: Server) -> float:
    """At once, or when they are done or their time is over. Meanwhile /health goes on as ever, and no request is taken.

    Returns the seconds that answers on their way get: none when their time is over.
    """
    mode = "drain" if settings.shutdown_timeout else "abort"
    log(f"[shutdown] API server: stopping engine client mode={mode} timeout={settings.shutdown_timeout}s")
    server.engine.closed = True
    if settings.shutdown_timeout:
        try:
            await asyncio.wait_for(server.engine.idle(), settings.shutdown_timeout)
        except TimeoutError:
            return 0
    elif settings.fail == "hang-on-stop":
        return float("inf")
    else:
        server.engine.abort("abort")
    return GOODBYE


if __name__ == "__main__":
    sys.exit(main())
