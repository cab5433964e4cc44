"""`dockerd`: goes by /etc/docker/daemon.json from its start or a reload on, and answers one request of its API, a pull."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import socketserver
import sys
import urllib.parse
from pathlib import Path

from lab.light import processes, store
from lab.light.errors import LIMITS, DockerError
from lab.light.pull import pull

SETTINGS = Path("/etc/docker/daemon.json")
SOCKET = store.RUN.parent / "docker.sock"
_KNOWN = ("insecure-registries", "runtimes")  # settings


def main(_: list[str]) -> int:
    """Serve until SIGTERM."""
    try:
        take_over()
    except DockerError as error:
        print(error, file=sys.stderr)
        return 1
    for left in store.WRITABLE.glob("*"):
        if not (store.CONTAINERS / left.name).exists():
            shutil.rmtree(left, ignore_errors=True)  # of containers before a reboot
    SOCKET.unlink(missing_ok=True)
    server = _Server(str(SOCKET), _Handler)
    SOCKET.chmod(0o660)
    signal.signal(signal.SIGHUP, _reload)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    _tell_systemd()
    server.serve_forever(poll_interval=3600)  # seconds between two looks whether to end, which nobody asks for
    return 0


def take_over() -> None:
    """Go by the settings as they are now; DockerError for one that is not known."""
    try:
        wanted = json.loads(SETTINGS.read_text()) if SETTINGS.exists() else {}
    except ValueError as error:
        raise DockerError(f"unable to configure the Docker daemon with file {SETTINGS}: {error}") from None
    if others := sorted(set(wanted) - set(_KNOWN)):
        raise DockerError(f"unable to configure the Docker daemon with file {SETTINGS}: {', '.join(others)}: {LIMITS}")
    settings = {"insecure-registries": wanted.get("insecure-registries", []), "runtimes": wanted.get("runtimes", {})}
    store.write(store.DAEMON, {**settings, "process": processes.ours()})


def _reload(*_: object) -> None:
    try:
        take_over()
    except DockerError as error:
        print(error, file=sys.stderr, flush=True)


def _tell_systemd() -> None:
    if address := os.environ.get("NOTIFY_SOCKET"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.sendto(b"READY=1", "\0" + address[1:] if address.startswith("@") else address)


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


class _Handler(socketserver.StreamRequestHandler):
    """One request per connection; http.server would take 8 MB more on each of many hosts."""

    def handle(self) -> None:
        """Answer a pull with a line of JSON per layer, as Docker does, and refuse everything else."""
        method, target, *_ = [*self.rfile.readline(65536).decode(errors="replace").split(), "", ""]
        while self.rfile.readline(65536).strip():
            pass
        url = urllib.parse.urlsplit(target)
        query = dict(urllib.parse.parse_qsl(url.query))
        if method == "POST" and url.path.endswith("/images/create") and set(query) == {"fromImage", "tag"}:
            self._begin("200 OK")
            try:
                for layer, status in pull(f"{query['fromImage']}@{query['tag']}"):
                    self._line({"status": status, "progressDetail": {}, "id": layer})
                self._line({"status": f"Digest: {query['tag']}"})
            except DockerError as error:
                self._line({"errorDetail": {"message": str(error)}, "error": str(error)})
        else:
            self._begin("501 Not Implemented")
            self._line({"message": f"{method} {target}: {LIMITS}"})

    def _begin(self, status: str) -> None:
        self.wfile.write(f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n".encode())

    def _line(self, document: dict[str, object]) -> None:
        self.wfile.write(json.dumps(document, separators=(",", ":")).encode() + b"\r\n")
