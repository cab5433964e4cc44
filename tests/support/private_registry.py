"""A real registry behind a front that asks who comes as private registries do: Harbor, GitLab, ECR, ACR, each in its way.

The front keeps their rules: a token opens the repository and the actions that it was given for, and nothing else; a storage that
blobs are sent to (ECR's is S3) refuses who shows it the registry's login.
"""

from __future__ import annotations

import base64
import json
import secrets
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import requests

from lab import wait
from tests.support.free_port import free_port


@dataclass(frozen=True)
class Product:
    """What a product asks with: `{front}` is the front's URL, `{scope}` what the request wants. `token_path`: "" for Basic."""

    challenges: tuple[str, ...]
    token_path: str = ""
    names_access_token: bool = False
    redirects_blobs: bool = False


PRODUCTS = {
    "harbor": Product(
        ('Bearer realm="{front}/service/token",service="harbor-registry",scope="{scope}"', 'Basic realm="harbor"'),
        "/service/token",
    ),
    "gitlab": Product(
        ('Bearer realm="{front}/jwt/auth",service="container_registry",scope="{scope}",error="invalid_token"',),
        "/jwt/auth",
    ),
    "ecr": Product(('Basic realm="{front}/",service="ecr.amazonaws.com"',), redirects_blobs=True),
    "acr": Product(
        ('Bearer realm="{front}/oauth2/token",service="lab.azurecr.io"',), "/oauth2/token", names_access_token=True
    ),
}


@dataclass
class Front:
    """A running front."""

    name: str  # host and port
    product: Product
    login: str
    identity: str
    asked: list[str] = field(default_factory=list)  # scopes that tokens were given for


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    front: Front
    registry: str
    tokens: dict[str, str]


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: object) -> None:
        """Silence."""

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        product = self.server.front.product
        if product.token_path and url.path == product.token_path:
            return self._token({name: values[0] for name, values in parse_qs(url.query or body.decode()).items()})
        if url.path.startswith("/storage/"):
            if self.headers.get("Authorization"):
                return self._send(400, b"only one auth mechanism allowed")
            return self._forward(f"/v2/{url.path.removeprefix('/storage/')}", b"")
        actions = "pull" if self.command in ("GET", "HEAD") else "pull,push"
        repository = url.path.removeprefix("/v2/").partition("/manifests/")[0].partition("/blobs/")[0]
        scope = f"repository:{repository}:{actions}"
        if not self._allowed(scope):
            front = f"http://{self.server.front.name}"
            asked = [one.format(front=front, scope=scope) for one in product.challenges]
            return self._send(
                401, b'{"errors": [{"code": "UNAUTHORIZED"}]}', [("WWW-Authenticate", one) for one in asked]
            )
        if product.redirects_blobs and self.command == "GET" and "/blobs/sha256:" in url.path:
            elsewhere = self.server.front.name.replace(
                "127.0.0.1", "localhost"
            )  # another name, so another host to clients
            path = url.path.removeprefix("/v2/")
            return self._send(307, b"", [("Location", f"http://{elsewhere}/storage/{path}")])
        return self._forward(self.path, body)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _serve

    def _allowed(self, scope: str) -> bool:
        kind, _, shown = (self.headers.get("Authorization") or "").partition(" ")
        if self.server.front.product.token_path:
            given = self.server.tokens.get(shown, "") if kind == "Bearer" else ""
            return (
                bool(given)
                and given.rpartition(":")[0] == scope.rpartition(":")[0]
                and scope.rpartition(":")[2] in given
            )
        return kind == "Basic" and base64.b64decode(shown).decode() == self.server.front.login

    def _token(self, fields: dict[str, str]) -> None:
        front = self.server.front
        if self.command == "POST":
            right = fields.get("grant_type") == "refresh_token" and fields.get("refresh_token") == front.identity
        else:
            right = self.headers.get("Authorization") == "Basic " + base64.b64encode(front.login.encode()).decode()
        if not right or not fields.get("scope") or not fields.get("service"):
            return self._send(401, b'{"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]}')
        token = secrets.token_urlsafe(900)
        self.server.tokens[token] = fields["scope"]
        front.asked.append(fields["scope"])
        return self._send(
            200, json.dumps({"access_token" if front.product.names_access_token else "token": token}).encode()
        )

    def _forward(self, path: str, body: bytes) -> None:
        names = ("Accept", "Content-Type", "Range")
        headers = {name: self.headers[name] for name in names if self.headers.get(name)} | {
            "Host": self.server.front.name
        }
        answer = requests.request(
            self.command,
            f"http://{self.server.registry}{path}",
            data=body,
            headers=headers,
            allow_redirects=False,
            timeout=60,
        )
        kept = ("Content-Type", "Docker-Content-Digest", "Location", "Link", "Content-Range")
        self._send(
            answer.status_code,
            answer.content,
            [(name, answer.headers[name]) for name in kept if name in answer.headers],
            answer.headers.get("Content-Length"),
        )

    def _send(
        self, status: int, body: bytes, headers: list[tuple[str, str]] | None = None, length: str | None = None
    ) -> None:
        self.send_response(status)
        for name, value in headers or []:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)) if self.command != "HEAD" else length or "0")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@contextmanager
def running(product: str, folder: Path, login: str, identity: str = "") -> Iterator[Front]:
    """The distribution's registry on this machine, behind a product's front."""
    port = free_port()
    settings = folder / "registry.yml"
    settings.write_text(
        f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {folder}/images}}}}\n"
        f"http: {{addr: '127.0.0.1:{port}', relativeurls: true}}\n"
    )
    with subprocess.Popen(["docker-registry", "serve", str(settings)], stderr=subprocess.DEVNULL) as process:
        server = _Server(("127.0.0.1", 0), _Handler)
        server.registry, server.tokens = f"127.0.0.1:{port}", {}
        server.front = Front(f"127.0.0.1:{server.server_address[1]}", PRODUCTS[product], login, identity)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        try:
            wait.until(lambda: _answers(server.registry), 60, "the registry does not answer")
            yield server.front
        finally:
            server.shutdown()
            server.server_close()
            process.terminate()


def _answers(registry: str) -> bool:
    try:
        return requests.get(f"http://{registry}/v2/", timeout=20).status_code == 200
    except requests.ConnectionError:
        return False
