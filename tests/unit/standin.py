"""The stand-in engine as a process of its own, and a client that sees every byte."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.conformance.record_api import MODEL

LIMIT = 30  # seconds for anything; on an idle machine nothing takes 2
READY = "Application startup complete."
CHAT = "/v1/chat/completions"


class Engine:
    """A running engine. Its log is read all the time, so that it never waits for a reader."""

    def __init__(self, arguments: Sequence[str], environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "lab.standin", "serve", *arguments],
            env=os.environ | {"STANDIN_ACCELERATORS": "none", "STANDIN_START_SECONDS": "0"} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.log: list[str] = []
        self.errors = ""
        self._grown = threading.Condition()
        self._readers = [threading.Thread(target=self._read_log), threading.Thread(target=self._read_errors)]
        for reader in self._readers:
            reader.start()

    @property
    def address(self) -> str:
        """Host and port it serves on, out of its own log."""
        line = self.said("Starting vLLM server on http://")
        return line.rpartition("http://")[2]

    def said(self, text: str) -> str:
        """The first line of the log with this text, as soon as it is there."""
        with self._grown:
            assert self._grown.wait_for(lambda: any(text in line for line in self.log), LIMIT), self.log
            return next(line for line in self.log if text in line)

    def ended(self) -> int:
        """Its exit status, when it has ended."""
        status = self.process.wait(LIMIT)
        for reader in self._readers:
            reader.join(LIMIT)
        return status

    def stop(self) -> None:
        """SIGTERM."""
        self.process.send_signal(signal.SIGTERM)

    def connect(self) -> http.client.HTTPConnection:
        """A connection of its own."""
        return http.client.HTTPConnection(self.address, timeout=LIMIT)

    def get(self, path: str) -> str:
        """A page that must be there."""
        connection = self.connect()
        connection.request("GET", path)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        assert answer.status == 200
        return text

    def ask(self, path: str = CHAT, **body: Any) -> tuple[int, dict[str, Any]]:
        """Status and body of a request that is not streamed."""
        connection = self.begin(path, **body)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        return answer.status, json.loads(text)

    def begin(self, path: str = CHAT, **body: Any) -> http.client.HTTPConnection:
        """A request that is sent and not yet answered."""
        connection = self.connect()
        base = {"messages": [{"role": "user", "content": "Hello"}]} if path == CHAT else {"prompt": "Hello"}
        asked = json.dumps({"model": MODEL, "max_tokens": 4, **base, **body})
        connection.request("POST", path, asked, {"Content-Type": "application/json"})
        return connection

    def metric(self, name: str) -> float:
        """The sum of a metric's samples."""
        found = re.findall(rf"^vllm:{name}(?:{{[^}}]*}})? (\S+)$", self.get("/metrics"), re.MULTILINE)
        return sum(map(float, found))

    def _read_log(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._grown:
                self.log.append(line.rstrip())
                self._grown.notify_all()

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        self.errors = self.process.stderr.read()


@contextmanager
def engine(model: Path, *arguments: str, served: bool = True, **environment: str) -> Iterator[Engine]:
    """An engine on a free port; it is gone afterwards."""
    fixed = [str(model), "--host", "127.0.0.1", "--port", "0", "--served-model-name", MODEL]
    made = Engine([*fixed, *arguments], environment)
    try:
        if served:
            made.said(READY)
        yield made
    finally:
        made.process.kill()
        made.ended()


def events(text: str) -> list[dict[str, Any]]:
    """The server-sent events before [DONE], which must be the last."""
    *found, done = re.findall(r"^data: (.*)$", text, re.MULTILINE)
    assert done == "[DONE]"
    return [json.loads(one) for one in found]


def until(true: Callable[[], bool]) -> None:
    """Ask again until it is so."""
    end = time.monotonic() + LIMIT
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)
