"""The engine as a program: reads the command line, serves until SIGTERM, shuts down. `python -m lab.standin vllm serve MODEL`."""

import argparse
import asyncio
import os
import signal
import socket
import sys
from collections.abc import Sequence

from lab.standin import sglang, vllm
from lab.standin.dialect import Dialect
from lab.standin.server import Server
from lab.standin.settings import Settings, SettingsError
from lab.standin.startup import StartError

DIALECTS = {dialect.name: dialect for dialect in (vllm.DIALECT, sglang.DIALECT)}
GOODBYE = 1  # seconds for answers that are being sent at the end
HIDDEN = ("subparser", "api_key", "admin_api_key")  # not to be logged


def main(engine: str, words: Sequence[str]) -> int:
    """Serve until a signal to stop; returns the exit status.

    + engine: whose words these are: "vllm" or "sglang"
    """
    dialect = DIALECTS[engine]
    version = os.environ.get("STANDIN_VERSION") or dialect.version
    options = dialect.parse(words, version, os.environ.get("STANDIN_DROPPED_OPTIONS", "").split())
    try:
        settings = dialect.settings(options, os.environ)
    except SettingsError as error:
        print(f"{dialect.program} (stand-in): {error}", file=sys.stderr)
        return 2
    if dialect.stop.starting is not None:
        # Process 1 of a container ignores signals that it does not handle.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: sys.exit(dialect.stop.starting))
    return Program(dialect, settings).run(options)


class Program:
    """The engine from its first line to its last."""

    def __init__(self, dialect: Dialect, settings: Settings) -> None:
        self.dialect = dialect
        self.settings = settings

    def run(self, options: argparse.Namespace) -> int:
        """Load and serve; returns the exit status."""
        self._log(self.dialect.greeting.format(version=self.settings.version))
        self._log(f"non-default args: {_given(options)}")
        try:
            listener = self._bind()
            context = self.dialect.load(self.settings)
            self._log(f"Loading {self.settings.model}")
            return asyncio.run(self._serve(context, listener))
        except StartError as error:
            self._log_failure(str(error))
            return error.status
        except OSError as error:
            text = self.dialect.taken.format(error=error, host=self.settings.host, port=self.settings.port)
            self._log_failure(text)
            return 1

    def _log(self, text: str) -> None:
        print(self.dialect.line(text), flush=True)

    def _log_failure(self, text: str) -> None:
        print(self.dialect.error_line(f"Traceback (most recent call last):\n{text}"), file=sys.stderr)

    def _bind(self) -> socket.socket:
        """Bind the port without accepting connections: engines refuse them until they are loaded."""
        settings = self.settings
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
        return listener

    async def _serve(self, context: int, listener: socket.socket) -> int:
        settings, dialect = self.settings, self.dialect
        await asyncio.sleep(settings.start_seconds)
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        server = Server(dialect, settings, context)
        stepping = asyncio.create_task(server.engine.run())
        listening = await loop.create_server(server.connection, sock=listener, backlog=2048)
        host, port = listener.getsockname()[:2]
        self._log(dialect.serving.format(address=f"{f'[{host}]' if ':' in host else host}:{port}"))
        warming = asyncio.create_task(self._warm_up(server))
        crashed = not await _until(stop, settings.fail_after if settings.fail == "crash" else None)
        warming.cancel()
        server.ready = False
        patience = await (self._crash(server) if crashed else self._end_requests(server))
        stepping.cancel()
        listening.close()
        await server.close(patience)
        self._log(dialect.stop.farewell)
        return dialect.crash.status if crashed else 0

    async def _warm_up(self, server: Server) -> None:
        """Take requests, and say so."""
        if self.dialect.warm_up:
            await asyncio.sleep(self.dialect.warm_up)
        server.ready = True
        print(self.dialect.uvicorn(self.dialect.warm), flush=True)

    async def _crash(self, server: Server) -> float:
        """Die as the engine does; returns the seconds that answers which are being sent get."""
        crash = self.dialect.crash
        server.engine.frozen = True
        print(self.dialect.error_line(crash.line), file=sys.stderr, flush=True)
        await asyncio.sleep(crash.silence)
        if crash.answers:
            server.engine.abort("error")
            return GOODBYE
        for connection in list(server.connections):
            connection.transport.abort()
        return 0

    async def _end_requests(self, server: Server) -> float:
        """End running requests: at once, or when they are done or their time is over.

        Returns the seconds that answers which are being sent get: none when their time is over.
        """
        settings, engine = self.settings, server.engine
        if self.dialect.stop.drains:
            self._log("SIGTERM received. Draining requests and shutting down...")
            engine.frozen = settings.fail == "hang-on-stop"
            await self._drain(server)
            return GOODBYE
        mode = "drain" if settings.shutdown_timeout else "abort"
        self._log(f"[shutdown] API server: stopping engine client mode={mode} timeout={settings.shutdown_timeout}s")
        engine.closed = True
        if settings.shutdown_timeout:
            try:
                await asyncio.wait_for(engine.idle(), settings.shutdown_timeout)
            except TimeoutError:
                return 0
        elif settings.fail == "hang-on-stop":
            return float("inf")
        else:
            engine.abort("abort")
        return GOODBYE

    async def _drain(self, server: Server) -> None:
        """Return when no request is left, new ones included; look now and then."""
        while True:
            await asyncio.sleep(self.settings.stop_seconds)
            left = len(server.engine.running) + len(server.engine.waiting)
            self._log(f"Gracefully exiting... Remaining number of requests {left}.")
            if not left:
                return


def _given(options: argparse.Namespace) -> dict[str, object]:
    return {
        name: value
        for name, value in vars(options).items()
        if value is not None and value is not False and name not in HIDDEN
    }


async def _until(stop: asyncio.Event, limit: float | None) -> bool:
    """Whether the signal to stop came within `limit` seconds."""
    try:
        await asyncio.wait_for(stop.wait(), limit)
    except TimeoutError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
