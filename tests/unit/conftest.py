"""What several tests start: a model hub on this machine, programs that stand for those of a host."""

from __future__ import annotations

import warnings

# First of all, because it makes the process cooperative (gevent); pytest's own plugins have imported ssl before.
with warnings.catch_warnings(action="ignore"):
    import pyinfra_cli  # noqa: F401

import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from lab import hub as lab_hub

FILES = {
    "params.json": b'{"dim": 128}\n',
    "consolidated.safetensors": bytes(range(256)) * 256,
    "tekken.json": b'{"vocab": []}\n',
    # the other layout of the same weights, which nobody asked for
    "config.json": b'{"model_type": "mistral"}\n',
    "model-00001-of-00001.safetensors": b"\0" * 65536,
    "README.md": b"# Tiny\n",
}
REPOSITORY = "barewind-lab/Mistral-Tiny"
COMMIT = "3501280000000000000000000000000000000001"


@dataclass
class LocalHub:
    """A running hub with one repository."""

    url: str
    server: lab_hub.Hub

    def fault(self, path: str, kind: str, times: int = 1, **more: Any) -> None:
        """Have the next requests for a path go wrong."""
        self.server.faults.append({"path": path, "kind": kind, "times": times, **more})

    def downloads(self) -> list[str]:
        """Names of the files that were sent, in order."""
        return [
            one["path"].rsplit("/", 1)[1]
            for one in self.server.requests
            if one["method"] == "GET" and "/resolve/" in one["path"]
        ]

    def ranges(self) -> list[str]:
        """Range headers of the requests so far."""
        return [one["range"] for one in self.server.requests if one["range"]]


@pytest.fixture(scope="session")
def _hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalHub]:
    models = tmp_path_factory.mktemp("models")
    (models / REPOSITORY).mkdir(parents=True)
    for name, content in FILES.items():
        (models / REPOSITORY / name).write_bytes(content)
    (models / "index.json").write_text(json.dumps(lab_hub.index(models, {REPOSITORY: COMMIT})))
    server = lab_hub.Hub(("127.0.0.1", 0), models)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield LocalHub(f"http://127.0.0.1:{server.server_address[1]}", server)
    server.shutdown()
    server.server_close()


@pytest.fixture
def hub(_hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> LocalHub:
    """The hub, without faults and memories; the client's own waits between attempts are cut out."""
    _hub.server.faults.clear()
    _hub.server.requests.clear()
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda _: None)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1024)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
    return _hub


Programs = Callable[..., None]
Shell = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def bin_dir(tmp_path: Path) -> Path:
    """A directory of programs that comes before all others in `shell`."""
    directory = tmp_path / "bin"
    directory.mkdir()
    return directory


@pytest.fixture
def programs(bin_dir: Path) -> Programs:
    """Write programs that stand for those of a host: name -> shell script."""

    def write(**scripts: str) -> None:
        for name, script in scripts.items():
            file = bin_dir / name.replace("_", "-")
            file.write_text(f"#!/bin/sh\n{script}\n")
            file.chmod(0o755)

    return write


@pytest.fixture
def shell(bin_dir: Path, tmp_path: Path) -> Shell:
    """Run a command as a host's shell does."""

    def run(command: str, stdin: str = "", **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", "-c", command],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=20,
            cwd=tmp_path,
            env={**os.environ, "PATH": f"{bin_dir}:{os.environ['PATH']}", **env},
        )

    return run
