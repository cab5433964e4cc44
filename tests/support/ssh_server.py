"""An SSH server of this machine that runs commands in its own user's shell: `python -m tests.support.ssh_server LOG`.

It takes any password and any key, prints its port, and writes a line for each session: `exec COMMAND`.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import paramiko

MOST_SESSIONS = 10  # at a time over a connection, as sshd's MaxSessions


class _Server(paramiko.ServerInterface):
    def __init__(self, log: Path) -> None:
        self._log = log
        self._lock = threading.Lock()
        self._open = 0

    def get_allowed_auths(self, username: str) -> str:
        del username
        return "password,publickey"

    def check_auth_password(self, username: str, password: str) -> int:
        del username, password
        return paramiko.AUTH_SUCCESSFUL

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        del username, key
        return paramiko.AUTH_SUCCESSFUL

    def check_channel_request(self, kind: str, chanid: int) -> int:
        del chanid
        with self._lock:
            if kind != "session" or self._open >= MOST_SESSIONS:
                return paramiko.OPEN_FAILED_CONNECT_FAILED
            self._open += 1
        return paramiko.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        with self._lock, self._log.open("a") as log:
            log.write(f"exec {command.decode().splitlines()[0]}\n")
        threading.Thread(target=self._run, args=(channel, command), daemon=True).start()
        return True

    def _run(self, channel: paramiko.Channel, command: bytes) -> None:
        pipe = subprocess.PIPE
        process = subprocess.Popen(["sh", "-c", command.decode()], stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0)
        threading.Thread(target=_take, args=(channel, process.stdin), daemon=True).start()
        outputs = [
            threading.Thread(target=_pass_on, args=(stream, send))
            for stream, send in ((process.stdout, channel.sendall), (process.stderr, channel.sendall_stderr))
        ]
        for output in outputs:
            output.start()
        for output in outputs:
            output.join()
        status = process.wait()
        with self._lock:
            self._open -= 1
        channel.send_exit_status(status if status >= 0 else 255)
        channel.close()


def _take(channel: paramiko.Channel, stdin: IO[bytes]) -> None:
    try:
        while data := channel.recv(65536):
            stdin.write(data)
    except OSError:
        pass  # the command does not read
    stdin.close()


def _pass_on(stream: IO[bytes], send: Any) -> None:
    try:
        while data := stream.read(65536):
            send(data)
    except OSError:
        stream.close()  # whoever asked is gone


def _serve(log: Path) -> None:
    key = paramiko.ECDSAKey.generate()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        print(listening.getsockname()[1], flush=True)
        while True:
            connection, _ = listening.accept()
            transport = paramiko.Transport(connection)
            transport.add_server_key(key)
            transport.start_server(event=threading.Event(), server=_Server(log))


@contextmanager
def serving(log: Path, environment: dict[str, str] | None = None) -> Iterator[int]:
    """A server while it lasts; its port. `environment`: what its commands have beside the tests' own."""
    process = subprocess.Popen(
        [sys.executable, "-m", __name__, str(log)],
        env=os.environ | (environment or {}),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield int(process.stdout.readline()) if process.stdout else 0
    finally:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
