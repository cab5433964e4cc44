"""The lab's model hub: stands for huggingface.co, with the API that its clients use for downloads.

It runs on `services` with the standard library alone: `python3 hub.py MODELS PORT`. MODELS holds index.json (see
`index`) and the files, MODELS/ORG/NAME/FILE. It differs from the real hub: large files come from the same address,
without a redirect to a storage network; there is no Xet protocol; the repositories in GATED are opened by a token
(environment LAB_HUB_TOKEN; without it they are not gated).

Tests set faults over HTTP below /_lab/, which the real hub does not have:
    POST   /_lab/faults    {"path": "*/consolidated.safetensors", "kind": "corrupt", "times": 1}
    GET    /_lab/faults    faults that are still to come
    DELETE /_lab/faults
    GET    /_lab/requests  every request since the last DELETE: [{"method", "path", "status", "range"}, ...]
    DELETE /_lab/requests
Kinds: `corrupt` flips a byte of the body, `truncate` closes the connection half way, `status` answers with "status" (and,
if given, "retry_after" seconds, the hub's "code" and "message"), `html` with a page, as what stands between would.
"""

import fnmatch
import hashlib
import json
import os
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

LARGE = 10 * 1024 * 1024  # bytes; from here on the real hub keeps a file in large file storage (LFS)
CHUNK = 1024 * 1024
LFS_SUFFIXES = (".safetensors",)
# Their files need the token; their description does not, as on the real hub.
GATED = ("barewind-lab/Mistral-Tiny-EAGLE",)

PAGE = b"<!DOCTYPE html><html><body>Please log in to the network.</body></html>"

Json = dict[str, Any]
Headers = dict[str, str]

INFO = re.compile(r"/api/models/([^/]+/[^/]+?)(?:/revision/([^/]+))?")
TREE = re.compile(r"/api/models/([^/]+/[^/]+)/tree/([^/]+)(?:/(.*))?")
RESOLVE = re.compile(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")


def index(models: Path, revisions: dict[str, str]) -> Json:
    """Content of index.json: of each repository the revision, and size, SHA-256 and git blob id of each file."""
    repositories: Json = {}
    for name, revision in revisions.items():
        files: Json = {}
        for path in sorted((models / name).iterdir()):
            data = path.read_bytes()
            sha256 = hashlib.sha256(data).hexdigest()
            lfs = len(data) >= LARGE or path.name.endswith(LFS_SUFFIXES)
            # Git stores a pointer in place of a large file; the blob id is then that of the pointer.
            stored = data
            if lfs:
                stored = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {len(data)}\n".encode()
            blob = hashlib.sha1(b"blob %d\0" % len(stored) + stored, usedforsecurity=False).hexdigest()
            files[path.name] = {"size": len(data), "sha256": sha256, "blob": blob, "pointer": len(stored) if lfs else 0}
        repositories[name] = {"revision": revision, "files": files}
    return repositories


class Hub(ThreadingHTTPServer):
    """The server, with what its requests share."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], models: Path, token: str | None = None) -> None:
        super().__init__(address, Request)
        self.models = models
        self.token = token
        self.repositories: Json = json.loads((models / "index.json").read_text())
        self.lock = threading.Lock()
        self.faults: list[Json] = []
        self.requests: list[Json] = []

    def fault(self, path: str) -> Json | None:
        """The fault that this request for a path meets, if any; counts it down."""
        with self.lock:
            for fault in self.faults:
                if fault["times"] > 0 and fnmatch.fnmatch(path, fault["path"]):
                    fault["times"] -= 1
                    return fault
        return None


class Request(BaseHTTPRequestHandler):
    """A request. The paths are those of the real hub."""

    protocol_version = "HTTP/1.1"
    server: Hub

    def do_GET(self) -> None:
        """Answer with a body."""
        self._answer(body=True)

    def do_HEAD(self) -> None:
        """Answer without a body."""
        self._answer(body=False)

    def do_POST(self) -> None:
        """Set a fault."""
        length = int(self.headers.get("Content-Length") or 0)
        text = self.rfile.read(length)
        if self.path != "/_lab/faults":
            return self._error(404, "NotFound", "no such page")
        fault = {"times": 1, **json.loads(text)}
        with self.server.lock:
            self.server.faults.append(fault)
        return self._json(fault, body=True)

    def do_DELETE(self) -> None:
        """Delete faults or recorded requests."""
        records = {"/_lab/faults": self.server.faults, "/_lab/requests": self.server.requests}.get(self.path)
        if records is None:
            return self._error(404, "NotFound", "no such page")
        with self.server.lock:
            records.clear()
        return self._json({}, body=True)

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing: requests are recorded for tests."""

    def _answer(self, *, body: bool) -> None:
        url = urlsplit(self.path)
        path = unquote(url.path)
        if path == "/_lab/health":
            return self._json({"repositories": sorted(self.server.repositories)}, body=body)
        if path in ("/_lab/faults", "/_lab/requests"):
            with self.server.lock:
                records = list(self.server.faults if path == "/_lab/faults" else self.server.requests)
            return self._json(records, body=body)
        fault = self.server.fault(path)
        if fault and fault["kind"] == "status":
            wait = {"Retry-After": str(fault["retry_after"])} if "retry_after" in fault else {}
            message = fault.get("message", "a fault that a test has set")
            return self._error(int(fault["status"]), fault.get("code", ""), message, wait)
        if fault and fault["kind"] == "html":
            return self._html(int(fault.get("status", 200)), body=body)
        if match := RESOLVE.fullmatch(path):
            return self._file(*match.groups(), body=body, fault=fault)
        if match := TREE.fullmatch(path):
            return self._tree(match[1], match[2], match[3], body=body)
        if match := INFO.fullmatch(path):
            return self._info(match[1], match[2], blobs="blobs" in parse_qs(url.query), body=body)
        return self._error(404, "RepoNotFound", "Repository not found")

    def _info(self, name: str, revision: str | None, *, blobs: bool, body: bool) -> None:
        repository = self._repository(name, revision or "main")
        if repository is None:
            return
        siblings = [_sibling(file, facts, blobs) for file, facts in repository["files"].items()]
        answer = {
            "_id": hashlib.sha256(name.encode()).hexdigest()[:24],
            "id": name,
            "modelId": name,
            "author": name.split("/")[0],
            "sha": repository["revision"],
            "lastModified": "2026-05-01T00:00:00.000Z",
            "createdAt": "2026-05-01T00:00:00.000Z",
            "private": False,
            "gated": False,
            "disabled": False,
            "downloads": 0,
            "likes": 0,
            "tags": ["region:us"],
            "siblings": siblings,
        }
        self._json(answer, body=body)

    def _tree(self, name: str, revision: str, folder: str | None, *, body: bool) -> None:
        repository = self._repository(name, revision)
        if repository is None:
            return
        if folder:
            return self._error(404, "EntryNotFound", f'"{folder}" does not exist on "{revision}"')
        entries = []
        for file, facts in repository["files"].items():
            entry = {"type": "file", "oid": facts["blob"], "size": facts["size"], "path": file}
            if facts["pointer"]:
                entry["lfs"] = {"oid": facts["sha256"], "size": facts["size"], "pointerSize": facts["pointer"]}
            entries.append(entry)
        self._json(entries, body=body)

    def _file(self, name: str, revision: str, file: str, *, body: bool, fault: Json | None) -> None:
        repository = self._repository(name, revision)
        if repository is None:
            return
        token = self.server.token
        if token and name in GATED and self.headers.get("Authorization") != f"Bearer {token}":
            return self._error(
                401, "GatedRepo", f"Access to model {name} is restricted. You must be authenticated to access it."
            )
        facts = repository["files"].get(file)
        commit = {"X-Repo-Commit": repository["revision"]}
        if facts is None:
            return self._error(404, "EntryNotFound", "Entry not found", commit)
        size = facts["size"]
        etag = f'"{facts["sha256"] if facts["pointer"] else facts["blob"]}"'
        headers = commit | {"ETag": etag, "Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}
        if facts["pointer"]:
            headers |= {"X-Linked-Size": str(size), "X-Linked-Etag": etag}
        wanted = self.headers.get("Range")
        span = _span(wanted, size)
        if wanted and span is None:
            return self._error(416, "", "Range not satisfiable", {"Content-Range": f"bytes */{size}"})
        first, last = span or (0, size - 1)
        if wanted:
            headers["Content-Range"] = f"bytes {first}-{last}/{size}"
        headers["Content-Length"] = str(last - first + 1)
        self._head(206 if wanted else 200, headers)
        if body:
            self._send(self.server.models / name / file, first, last, fault)

    def _send(self, path: Path, first: int, last: int, fault: Json | None) -> None:
        kind = fault["kind"] if fault else ""
        end = first + (last - first + 1) // 2 if kind == "truncate" else last + 1
        with path.open("rb") as source:
            source.seek(first)
            at = first
            while at < end:
                data = bytearray(source.read(min(CHUNK, end - at)))
                if kind == "corrupt":
                    data[-1] ^= 0xFF
                    kind = ""
                self.wfile.write(data)
                at += len(data)
        if kind == "truncate":
            self.close_connection = True

    def _repository(self, name: str, revision: str) -> Json | None:
        """The repository at a revision; None when there is none, and the error has been sent."""
        repository: Json | None = self.server.repositories.get(name)
        if repository is None:
            self._error(404, "RepoNotFound", "Repository not found")
            return None
        if revision not in ("main", repository["revision"]):
            self._error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return None
        return repository

    def _json(self, value: object, *, body: bool) -> None:
        text = json.dumps(value).encode()
        self._head(200, {"Content-Type": "application/json", "Content-Length": str(len(text))})
        if body:
            self.wfile.write(text)

    def _html(self, status: int, *, body: bool) -> None:
        """A page, as what stands between answers instead of the hub."""
        self._head(status, {"Content-Type": "text/html", "Content-Length": str(len(PAGE))})
        if body:
            self.wfile.write(PAGE)

    def _error(self, status: int, code: str, message: str, extra: Headers | None = None) -> None:
        text = json.dumps({"error": message}).encode()
        headers = {"Content-Type": "application/json", "Content-Length": str(len(text)), "X-Error-Message": message}
        if code:
            headers["X-Error-Code"] = code
        self._head(status, headers | (extra or {}))
        if self.command != "HEAD":
            self.wfile.write(text)

    def _head(self, status: int, headers: Headers) -> None:
        # Recorded before it is sent, so that whoever has the answer can read the record.
        if not self.path.startswith("/_lab/"):
            record = {"method": self.command, "path": self.path, "status": status, "range": self.headers.get("Range")}
            with self.server.lock:
                self.server.requests.append(record)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()


def _sibling(file: str, facts: Json, blobs: bool) -> Json:
    if not blobs:
        return {"rfilename": file}
    sibling = {"rfilename": file, "size": facts["size"], "blobId": facts["blob"]}
    if facts["pointer"]:
        sibling["lfs"] = {"sha256": facts["sha256"], "size": facts["size"], "pointerSize": facts["pointer"]}
    return sibling


def _span(header: str | None, size: int) -> tuple[int, int] | None:
    """First and last byte of a Range header with a single range; None when it does not fit."""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", header or "")
    if not match or match.groups() == ("", ""):
        return None
    if not match[1]:
        return (max(0, size - int(match[2])), size - 1)
    first, last = int(match[1]), min(int(match[2] or size - 1), size - 1)
    return (first, last) if first <= last else None


if __name__ == "__main__":
    everywhere = ("0.0.0.0", int(sys.argv[2]))  # noqa: S104 - the lab's own network
    Hub(everywhere, Path(sys.argv[1]), os.environ.get("LAB_HUB_TOKEN")).serve_forever()
