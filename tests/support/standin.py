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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h11
import prometheus_client

from lab.images import standin_engine
from tests.conformance.exchanges import MODEL

LIMIT = 120  # seconds for anything; on an idle machine nothing takes 2
CHAT = "/v1/chat/completions"


@dataclass(frozen=True)
class Kind:
    """Which engine is imitated.

    + serve: its words before the model
    + ready: what its log says when it takes requests
    + metrics: what its metrics begin with
    """

    name: str
    serve: tuple[str, ...]
    ready: str
    metrics: str


VLLM = Kind("vllm", ("serve",), "Application startup complete.", "vllm")
SGLANG = Kind("sglang", ("--model-path",), "The server is fired up and ready to roll!", "sglang")


class Engine:
    """A running engine. Its log is read all the time, so that it never waits for a reader."""

    def __init__(self, arguments: Sequence[str], environment: dict[str, str], kind: Kind = VLLM) -> None:
        self.kind = kind
        self.process = subprocess.Popen(
            [sys.executable, "-m", "lab.standin", kind.name, *kind.serve, *arguments],
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
        line = self.logged(" on http://")
        return line.rpartition("http://")[2].split()[0]

    def logged(self, text: str) -> str:
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
        samples = re.findall(rf"^{self.kind.metrics}:{name}(?:{{[^}}]*}})? (\S+)$", self.get("/metrics"), re.MULTILINE)
        return sum(map(float, samples))

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
def engine(
    model: Path, *arguments: str, served: bool = True, kind: Kind = VLLM, **environment: str
) -> Iterator[Engine]:
    """An engine on a free port; it is gone afterwards."""
    fixed = [str(model), "--host", "127.0.0.1", "--port", "0", "--served-model-name", MODEL]
    running = Engine([*fixed, *arguments], environment, kind)
    try:
        if served:
            running.logged(kind.ready)
        yield running
    finally:
        running.process.kill()
        running.ended()


def write_model(folder: Path) -> Path:
    """Write a model in both layouts, as far as engines read it before they load its weights; returns its folder."""
    (folder / "params.json").write_text('{"max_position_embeddings": 32768}')
    config = {
        "architectures": ["Mistral3ForConditionalGeneration"],
        "model_type": "mistral3",
        "text_config": {"max_position_embeddings": 32768},
        "vision_config": {},
    }
    (folder / "config.json").write_text(json.dumps(config))
    for name in ("tekken.json", "model-00001-of-00001.safetensors"):
        (folder / name).touch()
    return folder


def events(text: str) -> list[dict[str, Any]]:
    """The server-sent events before [DONE], which must be the last."""
    *data, done = re.findall(r"^data: (.*)$", text, re.MULTILINE)
    assert done == "[DONE]"
    return [json.loads(event) for event in data]


def until(condition: Callable[[], bool]) -> None:
    """Return as soon as a condition holds."""
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def unpack(root: Path) -> None:
    """Write what the program's layer of the image holds, and beside it the two packages that it needs."""
    for module in (h11, prometheus_client):
        folder = Path(module.__file__ or "").parent
        (root / folder.name).symlink_to(folder)
    for name, content in standin_engine.program_files().items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
