"""`dockerd` of light hosts: settings that it goes by, and the one request of its API that it answers."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.light import daemon, store
from lab.light.errors import DockerError


@pytest.fixture(autouse=True)
def own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon, "SETTINGS", tmp_path / "daemon.json")
    monkeypatch.setattr(store, "DAEMON", tmp_path / "taken-over.json")


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """Socket of a daemon that serves."""
    server = daemon._Server(str(tmp_path / "s"), daemon._Handler)
    threading.Thread(target=lambda: server.serve_forever(poll_interval=0.01), daemon=True).start()
    yield tmp_path / "s"
    server.shutdown()
    server.server_close()


def request(path: Path, line: str) -> tuple[str, list[dict[str, object]]]:
    """First line of the answer, and its lines of JSON."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(f"{line} HTTP/1.1\r\nHost: docker\r\n\r\n".encode())
        head, body = client.makefile().read().split("\n\n", 1)
    return head.splitlines()[0], [json.loads(text) for text in body.splitlines()]


def test_a_pull_tells_each_layer(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon, "pull", lambda reference: iter([("11", reference)]))
    status, lines = request(path, "POST /images/create?fromImage=r:5000/engine&tag=sha256:aa")
    assert status == "HTTP/1.1 200 OK"
    assert lines[0] == {"status": "r:5000/engine@sha256:aa", "progressDetail": {}, "id": "11"}


def test_a_pull_that_fails_says_why(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: str) -> Iterator[tuple[str, str]]:
        raise DockerError("manifest unknown")
        yield

    monkeypatch.setattr(daemon, "pull", fails)
    _, lines = request(path, "POST /v1.41/images/create?fromImage=r:5000/engine&tag=sha256:aa")
    assert lines == [{"errorDetail": {"message": "manifest unknown"}, "error": "manifest unknown"}]


@pytest.mark.parametrize("line", ["GET /containers/json", "POST /images/create?fromImage=a&tag=b&platform=c", "x"])
def test_the_rest_is_refused(path: Path, line: str) -> None:
    status, (answer,) = request(path, line)
    assert " 501 " in status
    assert "stand-in" in str(answer["message"])


def test_settings_count_from_the_start_or_a_reload_on() -> None:
    daemon.take_over()
    assert store.daemon()["insecure-registries"] == []
    daemon.SETTINGS.write_text('{"insecure-registries": ["10.0.0.2:5000"]}')
    assert store.daemon()["insecure-registries"] == []
    daemon.take_over()
    assert store.daemon()["insecure-registries"] == ["10.0.0.2:5000"]


@pytest.mark.parametrize("text", ["{", '{"live-restore": true}'])
def test_settings_that_are_not_known_are_refused_and_the_old_ones_stay(text: str) -> None:
    daemon.take_over()
    daemon.SETTINGS.write_text(text)
    with pytest.raises(DockerError, match="unable to configure"):
        daemon.take_over()
    assert store.daemon()["runtimes"] == {}
