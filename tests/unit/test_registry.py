"""Asking a registry for a digest, against a small one on this machine."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from barewind.errors import BarewindError
from barewind.lock import LockedImage
from barewind.registry import resolve

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"


class Registry(ThreadingHTTPServer):
    """Stands for a registry: manifests by tag and digest; with a token, behind the token authentication of Docker Hub."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.manifests: dict[str, tuple[str, bytes]] = {}
        self.token: str | None = None
        self.status = 200
        self.asked: list[tuple[str, str | None]] = []

    @property
    def name(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    def put(self, repository: str, tag: str | None, document: dict[str, Any], media_type: str = OCI_MANIFEST) -> str:
        body = json.dumps(document).encode()
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        for reference in filter(None, (tag, digest)):
            self.manifests[f"/v2/{repository}/manifests/{reference}"] = (media_type, body)
        return digest


class Handler(BaseHTTPRequestHandler):
    server: Registry

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers.get("Authorization")))
        if self.path.startswith("/token?"):
            return self.answer(200, json.dumps({"token": self.server.token}).encode(), {})
        if self.server.token and self.headers.get("Authorization") != f"Bearer {self.server.token}":
            realm = f"http://{self.server.name}/token"
            scope = "repository:vllm/vllm-openai:pull"
            challenge = f'Bearer realm="{realm}",service="registry.example",scope="{scope}"'
            return self.answer(401, b"{}", {"WWW-Authenticate": challenge})
        if self.server.status != 200:
            return self.answer(self.server.status, b"", {})
        if self.path not in self.server.manifests:
            return self.answer(404, b'{"errors": []}', {})
        media_type, body = self.server.manifests[self.path]
        assert media_type in self.headers["Accept"]
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        return self.answer(200, body, {"Content-Type": media_type, "Docker-Content-Digest": digest})

    def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Silence."""


@pytest.fixture
def registry() -> Iterator[Registry]:
    server = Registry()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def manifest(*sizes: int) -> dict[str, Any]:
    return {"schemaVersion": 2, "layers": [{"digest": f"sha256:{size:064x}", "size": size} for size in sizes]}


def ask(registry: Registry, reference: str = "vllm/vllm-openai:nightly") -> LockedImage:
    return resolve(f"{registry.name}/{reference}", insecure_registries=(registry.name,))


def test_a_single_manifest(registry: Registry) -> None:
    digest = registry.put("vllm/vllm-openai", "nightly", manifest(100, 23))
    assert ask(registry) == LockedImage(digest=digest, size=123)


def test_a_reference_by_digest(registry: Registry) -> None:
    digest = registry.put("vllm/vllm-openai", None, manifest(7))
    assert ask(registry, f"vllm/vllm-openai@{digest}") == LockedImage(digest=digest, size=7)


def test_an_index_keeps_its_own_digest_and_has_the_size_of_our_platform(registry: Registry) -> None:
    arm = registry.put("vllm/vllm-openai", None, manifest(1))
    amd = registry.put("vllm/vllm-openai", None, manifest(500, 5))
    entries = [
        {"digest": arm, "platform": {"os": "linux", "architecture": "arm64"}},
        {"digest": amd, "platform": {"os": "linux", "architecture": "amd64"}},
    ]
    index = registry.put("vllm/vllm-openai", "nightly", {"schemaVersion": 2, "manifests": entries}, OCI_INDEX)
    assert ask(registry) == LockedImage(digest=index, size=505)


def test_an_index_without_our_platform(registry: Registry) -> None:
    entries = [{"digest": "sha256:" + "0" * 64, "platform": {"os": "linux", "architecture": "arm64"}}]
    registry.put("vllm/vllm-openai", "nightly", {"schemaVersion": 2, "manifests": entries}, OCI_INDEX)
    with pytest.raises(BarewindError, match="has no amd64 variant; name an image that has one"):
        ask(registry)


def test_token_authentication(registry: Registry) -> None:
    registry.token = "anonymous-pull"  # noqa: S105
    digest = registry.put("vllm/vllm-openai", "nightly", manifest(9))

    assert ask(registry) == LockedImage(digest=digest, size=9)

    paths = [path for path, _ in registry.asked]
    assert paths == [
        "/v2/vllm/vllm-openai/manifests/nightly",
        "/token?service=registry.example&scope=repository%3Avllm%2Fvllm-openai%3Apull",
        "/v2/vllm/vllm-openai/manifests/nightly",
    ]
    assert registry.asked[-1][1] == "Bearer anonymous-pull"


def test_no_such_tag(registry: Registry) -> None:
    with pytest.raises(BarewindError) as caught:
        ask(registry, "vllm/vllm-openai:nigthly")
    assert str(caught.value) == (
        f"image {registry.name}/vllm/vllm-openai:nigthly: the registry has no such tag or digest; "
        "correct 'image' or the lock file."
    )


@pytest.mark.parametrize("status", [403, 429, 500, 503])
def test_a_registry_that_refuses(registry: Registry, status: int) -> None:
    registry.put("vllm/vllm-openai", "nightly", manifest(1))
    registry.status = status
    with pytest.raises(BarewindError, match=f"the registry answered {status}; check access to it"):
        ask(registry)


def test_a_registry_that_is_down(unused_url: str) -> None:
    name = unused_url.removeprefix("http://")
    with pytest.raises(BarewindError) as caught:
        resolve(f"{name}/a:1", insecure_registries=(name,))
    said = str(caught.value)
    assert said.startswith(f"image {name}/a:1: the registry did not answer (ConnectionError); check its name")
    assert "'insecure_registries' if it speaks plain HTTP" in said


def test_plain_http_is_only_spoken_where_it_is_allowed(registry: Registry) -> None:
    registry.put("vllm/vllm-openai", "nightly", manifest(1))
    with pytest.raises(BarewindError, match="the registry did not answer"):
        resolve(f"{registry.name}/vllm/vllm-openai:nightly")
    assert registry.asked == []
