"""A registry in this process, with faults: stands for Docker Hub (token authentication) and for a fleet's mirror.

It keeps everything in memory and answers what the OCI distribution specification has; a real one is used in
tests/machine/test_mirror.py where the distribution's package is installed.
"""

from __future__ import annotations

import base64
import fnmatch
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@dataclass
class Fault:
    """What goes wrong with the next requests: `method` and glob of the path; kind corrupt, truncate, close or status."""

    method: str
    path: str
    kind: str
    times: int = 1
    status: int = 500
    retry_after: str | None = None


@dataclass
class Asked:
    """A request that was answered."""

    method: str
    path: str
    status: int
    authorization: str | None
    range: str | None


@dataclass
class Stored:
    """One repository."""

    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)  # by digest
    tags: dict[str, str] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)


class RegistryServer(ThreadingHTTPServer):
    """A running registry. With `token` only that opens it, as with `login` (user:password) at the token's address.

    `identity` opens the token's address by POST, as an identity token does (Azure). `challenges` are asked with instead of its
    own, each in a header; `{token}` in them is the token's address.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, Stored] = {}
        self.token: str | None = None
        self.login: str | None = None
        self.basic: str | None = None
        self.identity: str | None = None
        self.challenges: list[str] | None = None
        self.token_answer: bytes | None = None
        self.token_status = 200
        self.forms: list[dict[str, str]] = []
        self.ranges = True
        self.deletes = True
        self.faults: list[Fault] = []
        self.asked: list[Asked] = []
        self.on_request: Any = None
        self.uploads: dict[str, bytes] = {}

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients of these tests hang up; that is no error."""

    @property
    def name(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    def repository(self, name: str) -> Stored:
        return self.repositories.setdefault(name, Stored())

    def put(self, name: str, tag: str | None, document: dict[str, Any], media_type: str = OCI_MANIFEST) -> str:
        """Store a manifest as it is; returns its digest."""
        body = json.dumps(document).encode()
        digest = digest_of(body)
        stored = self.repository(name)
        stored.manifests[digest] = (media_type, body)
        if tag:
            stored.tags[tag] = digest
        return digest

    def blob(self, name: str, content: bytes) -> dict[str, Any]:
        """Store a blob; returns its descriptor without a media type."""
        self.repository(name).blobs[digest_of(content)] = content
        return {"digest": digest_of(content), "size": len(content)}

    def image(self, name: str, tag: str | None, *layers: bytes, **config: Any) -> str:
        """Store a whole image; returns its digest."""
        described = self.blob(name, json.dumps({"architecture": "amd64", "os": "linux", **config}).encode())
        document = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {"mediaType": CONFIG, **described},
            "layers": [{"mediaType": LAYER, **self.blob(name, layer)} for layer in layers],
        }
        return self.put(name, tag, document)

    def index(self, name: str, tag: str | None, **platforms: str) -> str:
        """Store an index over images that are there: architecture -> digest."""
        stored = self.repository(name)
        entries = [
            {
                "mediaType": OCI_MANIFEST,
                "digest": digest,
                "size": len(stored.manifests[digest][1]),
                "platform": {"os": "linux", "architecture": architecture},
            }
            for architecture, digest in platforms.items()
        ]
        return self.put(name, tag, {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}, OCI_INDEX)

    def fault(self, method: str, path: str, kind: str, **more: Any) -> None:
        self.faults.append(Fault(method, path, kind, **more))

    def requests(self, method: str, path: str = "*") -> list[Asked]:
        """Requests so far that match."""
        return [request for request in self.asked if request.method == method and fnmatch.fnmatch(request.path, path)]


@contextmanager
def running() -> Iterator[RegistryServer]:
    """A registry that runs until the block ends."""
    server = RegistryServer()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: RegistryServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or each answer waits 40 ms for an acknowledgement

    def do_GET(self) -> None:
        self._serve()

    def do_HEAD(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_PUT(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()

    def log_message(self, format: str, *args: Any) -> None:
        """Silence."""

    def _serve(self) -> None:
        url = urlsplit(self.path)
        self.fault = next(
            (
                fault
                for fault in self.server.faults
                if fault.times > 0 and fault.method == self.command and fnmatch.fnmatch(url.path, fault.path)
            ),
            None,
        )
        if self.fault:
            self.fault.times -= 1
        if self.server.on_request:
            self.server.on_request(self.command, url.path)
        if self.fault and self.fault.kind == "close":
            self.close_connection = True
            self.connection.close()
            return None
        if url.path == "/token" and self.command == "POST":
            form = {name: values[0] for name, values in parse_qs(self._body().decode()).items()}
            self.server.forms.append(form)
            right = self.server.identity is not None and form.get("refresh_token") == self.server.identity
            token = json.dumps({"access_token": self.server.token}).encode()
            return self._answer(200, token) if right else self._answer(401, b"{}")
        if url.path == "/token":
            wanted = self.server.login and base64.b64encode(self.server.login.encode()).decode()
            if wanted and self.headers.get("Authorization") != f"Basic {wanted}":
                return self._answer(401, b"{}")
            return self._answer(
                self.server.token_status, self.server.token_answer or json.dumps({"token": self.server.token}).encode()
            )
        if not self._allowed():
            return None
        if self.fault and self.fault.kind == "status":
            again = {"Retry-After": self.fault.retry_after} if self.fault.retry_after else {}
            self._body()
            errors = {"errors": [{"code": "UNKNOWN", "message": "as a test\nasked"}]}
            return self._answer(self.fault.status, json.dumps(errors).encode(), again)
        return self._route(url.path, {key: values[0] for key, values in parse_qs(url.query).items()})

    def _allowed(self) -> bool:
        authorization = self.headers.get("Authorization")
        if self.server.basic is not None and authorization != f"Basic {self.server.basic}":
            self._body()
            self._challenge('Basic realm="mirror"')
            return False
        if self.server.token is not None and authorization != f"Bearer {self.server.token}":
            self._body()
            where = f"http://{self.server.name}/token"
            scope = "repository:vllm/vllm-openai:pull"
            challenge = f'Bearer realm="{where}",service="registry.example",scope="{scope}"'
            self._challenge(challenge)
            return False
        return True

    def _challenge(self, own: str) -> None:
        where = f"http://{self.server.name}/token"
        asked = [own] if self.server.challenges is None else self.server.challenges
        self._answer(401, b"{}", [("WWW-Authenticate", challenge.replace("{token}", where)) for challenge in asked])

    def _route(self, path: str, query: dict[str, str]) -> None:
        if path == "/v2/_catalog":
            return self._json({"repositories": sorted(self.server.repositories)})
        for kind, serve in (
            ("/blobs/uploads/", self._upload),
            ("/manifests/", self._manifest),
            ("/blobs/", self._blob),
            ("/tags/", self._tags),
        ):
            name, separator, rest = path.removeprefix("/v2/").partition(kind)
            if separator:
                return serve(name, rest, query)
        return self._answer(404, b"{}")

    def _manifest(self, name: str, reference: str, _: dict[str, str]) -> None:
        stored = self.server.repositories.get(name, Stored())
        digest = stored.tags.get(reference, reference)
        if self.command == "PUT":
            body = self._body()
            stored = self.server.repository(name)
            document = json.loads(body)
            blobs = [*document.get("layers", []), *filter(None, [document.get("config")])]
            if any(blob["digest"] not in stored.blobs for blob in blobs) or any(
                child["digest"] not in stored.manifests for child in document.get("manifests", [])
            ):
                return self._answer(400, b'{"errors": [{"code": "MANIFEST_BLOB_UNKNOWN", "message": "blob unknown"}]}')
            stored.manifests[digest_of(body)] = (self.headers["Content-Type"], body)
            if not reference.startswith("sha256:"):
                stored.tags[reference] = digest_of(body)
            return self._answer(201, b"")
        if digest not in stored.manifests:
            return self._answer(404, b'{"errors": []}')
        if self.command == "DELETE":
            if not self.server.deletes:
                return self._answer(405, b'{"errors": [{"code": "UNSUPPORTED", "message": "unsupported"}]}')
            del stored.manifests[digest]
            stored.tags = {tag: named for tag, named in stored.tags.items() if named != digest}
            return self._answer(202, b"")
        media_type, body = stored.manifests[digest]
        assert media_type in self.headers["Accept"]
        return self._answer(200, body, {"Content-Type": media_type, "Docker-Content-Digest": digest})

    def _blob(self, name: str, digest: str, _: dict[str, str]) -> None:
        content = self.server.repositories.get(name, Stored()).blobs.get(digest)
        if content is None:
            return self._answer(404, b'{"errors": []}')
        asked = self.headers.get("Range")
        if asked and self.server.ranges:
            return self._answer(206, content[int(asked.removeprefix("bytes=").rstrip("-")) :])
        return self._answer(200, content)

    def _upload(self, name: str, _: str, query: dict[str, str]) -> None:
        body = self._body()
        if self.command == "POST":
            return self._answer(202, b"", {"Location": f"/v2/{name}/blobs/uploads/1?state=x"})
        if digest_of(body) != query["digest"]:
            return self._answer(400, b'{"errors": [{"code": "DIGEST_INVALID", "message": "digest invalid"}]}')
        self.server.repository(name).blobs[query["digest"]] = body
        return self._answer(201, b"")

    def _tags(self, name: str, _: str, query: dict[str, str]) -> None:
        if name not in self.server.repositories:
            return self._answer(404, b'{"errors": []}')
        tags = sorted(self.server.repository(name).tags)
        page = 2  # small, so that tests turn pages
        fresh = [tag for tag in tags if tag > query.get("last", "")]
        more = {}
        if len(fresh) > page:
            more = {"Link": f'</v2/{name}/tags/list?n={page}&last={fresh[page - 1]}>; rel="next"'}
        return self._json({"name": name, "tags": fresh[:page]}, more)

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _json(self, document: Any, headers: dict[str, str] | None = None) -> None:
        self._answer(200, json.dumps(document).encode(), headers)

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | list[tuple[str, str]] | None = None) -> None:
        authorization, ranged = self.headers.get("Authorization"), self.headers.get("Range")
        self.server.asked.append(Asked(self.command, self.path, status, authorization, ranged))
        self.send_response(status)
        named = headers.items() if isinstance(headers, dict) else headers or ()
        for name, value in (*named, ("Content-Length", str(len(body)))):
            self.send_header(name, value)
        self.end_headers()
        kind = self.fault.kind if self.fault else ""
        if self.command != "HEAD":
            if kind == "corrupt" and body:
                body = body[:-1] + bytes([body[-1] ^ 1])
            self.wfile.write(body[: len(body) // 2] if kind == "truncate" else body)
        if kind == "truncate":
            self.close_connection = True
