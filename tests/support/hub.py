"""A model hub on this machine, for tests that fetch from one."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from huggingface_hub import constants

from lab.services import hub as lab_hub

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
            request["path"].rsplit("/", 1)[1]
            for request in self.server.requests
            if request["method"] == "GET" and "/resolve/" in request["path"]
        ]

    def ranges(self) -> list[str]:
        """Range headers of the requests so far."""
        return [request["range"] for request in self.server.requests if request["range"]]


@pytest.fixture(scope="session")
def running_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalHub]:
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
def hub(running_hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> LocalHub:
    """The hub, without faults and memories; the client's own waits between attempts are cut out."""
    running_hub.server.faults.clear()
    running_hub.server.requests.clear()
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda _: None)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1024)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
    return running_hub
