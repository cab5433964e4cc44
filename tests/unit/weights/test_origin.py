"""The hub's Xet storage: used where the hub and the image offer it, and left for plain ranges when it fails.

There is no Xet server here: the client's module is a stand-in with the functions that the real one (hf_xet 1.8) has.
"""

from __future__ import annotations

import hashlib
import sys
import threading
import types
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from barewind.weights.agent.job import FileSet, Job, LockedFile, Part, parts_of
from barewind.weights.agent.origin import Endpoint, EndpointError
from barewind.weights.agent.rate import Rate
from barewind.weights.agent.store import Store
from tests.support.hub import COMMIT, FILES, REPOSITORY, LocalHub

BIG = "consolidated.safetensors"
CONTENT = FILES[BIG]


class Xet:
    """What the client's streams were asked for; `fails_after` bytes of each they break."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []
        self.headers: dict[str, str] = {}
        self.fails_after: int | None = None

    def module(self) -> types.ModuleType:
        xet = self

        class XetFileInfo:
            def __init__(self, hash: str, size: int) -> None:
                assert (hash, size) == ("ab" * 32, len(CONTENT))

        class Group:
            def download_stream(self, _info: XetFileInfo, start: int, end: int) -> Iterator[bytes]:
                xet.asked.append((start, end))
                for offset in range(start, end, 1000):
                    if xet.fails_after is not None and offset - start >= xet.fails_after:
                        raise RuntimeError("CAS is away")
                    yield CONTENT[offset : min(end, offset + 1000)]

        class XetSession:
            def new_download_stream_group(self, *, token_refresh_url: str, token_refresh_headers: Any) -> Group:
                assert token_refresh_url == "http://hub/token"  # noqa: S105
                xet.headers = token_refresh_headers
                return Group()

        module = types.ModuleType("hf_xet")
        module.__dict__.update(XetFileInfo=XetFileInfo, XetSession=XetSession)
        return module


@pytest.fixture
def xet(monkeypatch: pytest.MonkeyPatch) -> Xet:
    xet = Xet()
    monkeypatch.setitem(sys.modules, "hf_xet", xet.module())
    data = types.SimpleNamespace(file_hash="ab" * 32, refresh_route="http://hub/token")
    metadata = types.SimpleNamespace(size=len(CONTENT), xet_file_data=data)
    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", lambda *_, **__: metadata)
    return xet


class Asked:
    """An endpoint, a store, and what was noted about them."""

    def __init__(self, hub: LocalHub, folder: Path) -> None:
        locked = LockedFile(len(CONTENT), hashlib.sha256(CONTENT).hexdigest())
        file_set = FileSet("m", REPOSITORY, COMMIT, folder / "m", {BIG: locked}, ("gpu-h1",))
        self.parts = parts_of(file_set, len(CONTENT) // 2)
        self.store = Store(file_set, self.parts)
        self.store.open()
        self.notes: list[str] = []
        self.job = Job("id", "gpu-h1", {}, (file_set,), endpoint=hub.url, token="hf_secret")
        self.endpoint = Endpoint(self.job, Rate(None), self.notes.append)

    def fetch(self, part: Part) -> None:
        digest = self.endpoint.fetch(part, self.store, lambda _: None)
        assert digest == hashlib.sha256(CONTENT[part.start : part.end]).hexdigest() == self.store.digest(part)


@pytest.fixture
def asked(hub: LocalHub, tmp_path: Path) -> Asked:
    return Asked(hub, tmp_path)


def test_parts_are_streamed_from_xet_storage(asked: Asked, xet: Xet, hub: LocalHub) -> None:
    for part in asked.parts:
        asked.fetch(part)
    assert xet.asked == [(0, 32768), (32768, 65536)]
    assert xet.headers["authorization"] == "Bearer hf_secret"
    assert hub.server.requests == []


def test_when_it_breaks_the_part_comes_by_range_and_so_do_the_next(asked: Asked, xet: Xet, hub: LocalHub) -> None:
    xet.fails_after = 5000
    for part in asked.parts:
        asked.fetch(part)
    assert xet.asked == [(0, 32768)]
    assert hub.ranges() == ["bytes=0-32767", "bytes=32768-65535"]
    assert asked.notes == [f"{BIG}: Xet storage failed (RuntimeError: CAS is away); by HTTP ranges instead"]


def test_a_client_without_streams_fetches_by_range(
    asked: Asked, xet: Xet, hub: LocalHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "hf_xet", types.ModuleType("hf_xet"))
    asked.fetch(asked.parts[0])
    assert hub.ranges() == ["bytes=0-32767"]
    assert asked.notes == [f"{BIG}: Xet storage is left aside (ImportError); by HTTP ranges instead"]


def test_a_hub_whose_file_has_another_size_is_not_asked_for_it(
    asked: Asked, hub: LocalHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    metadata = types.SimpleNamespace(size=1, xet_file_data=None)
    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", lambda *_, **__: metadata)
    with pytest.raises(EndpointError, match="it has 1 bytes, the lock says 65536") as caught:
        asked.fetch(asked.parts[0])
    assert caught.value.final
    assert hub.server.requests == []


class Plain(BaseHTTPRequestHandler):
    """A server that does not know ranges: it always sends the whole file."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT)

    def log_message(self, format: str, *args: Any) -> None:
        """Tests are quiet."""


def test_a_server_that_does_not_know_ranges_is_named(asked: Asked) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Plain) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        job = replace(asked.job, endpoint=url, source="mirror")
        with pytest.raises(EndpointError, match=r"it does not know HTTP ranges.*Check weights_path") as caught:
            Endpoint(job, Rate(None), asked.notes.append).fetch(asked.parts[0], asked.store, lambda _: None)
        server.shutdown()
    assert caught.value.final
