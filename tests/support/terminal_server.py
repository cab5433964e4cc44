"""An SSH server on this machine that gives commands a real terminal, with the modes that the client asks for (RFC 4254, 8)."""

from __future__ import annotations

import base64
import os
import pty
import socket
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import paramiko

# Opcode -> which of tcgetattr's flag words, and the flag in it.
_FLAGS = {
    **{36: (0, "ICRNL"), 38: (0, "IXON"), 34: (0, "INLCR"), 35: (0, "IGNCR")},
    **{50: (3, "ISIG"), 51: (3, "ICANON"), 53: (3, "ECHO"), 54: (3, "ECHOE"), 55: (3, "ECHOK"), 59: (3, "IEXTEN")},
    **{70: (1, "OPOST"), 72: (1, "ONLCR")},
}


class _Server(paramiko.ServerInterface):
    """Lets anybody in."""

    def __init__(self) -> None:
        self.modes: dict[int, bytes] = {}  # of channels that shall be a terminal

    def check_auth_none(self, _: str) -> int:
        return paramiko.AUTH_SUCCESSFUL

    def get_allowed_auths(self, _: str) -> str:
        return "none"

    def check_channel_request(self, *_: object) -> int:
        return paramiko.OPEN_SUCCEEDED

    def check_channel_pty_request(self, channel: Any, *words: Any) -> bool:
        self.modes[channel.get_id()] = words[-1]
        return True

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        modes = self.modes.get(channel.get_id())
        serve = _without_terminal if modes is None else _in_terminal
        threading.Thread(target=serve, args=(channel, command, modes), daemon=True).start()
        return True


def _in_terminal(channel: paramiko.Channel, command: bytes, modes: bytes) -> None:
    master, slave = pty.openpty()
    attributes = termios.tcgetattr(slave)
    for opcode, value in struct.iter_unpack(">BI", modes[: len(modes) // 5 * 5]):
        if opcode in _FLAGS:
            word, name = _FLAGS[opcode]
            flag = getattr(termios, name)
            attributes[word] = attributes[word] | flag if value else attributes[word] & ~flag
    termios.tcsetattr(slave, termios.TCSANOW, attributes)
    process = subprocess.Popen(["sh", "-c", command], stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
    os.close(slave)
    threading.Thread(target=_pass_in, args=(channel, master), daemon=True).start()
    with suppress(OSError):  # EIO: nobody has the terminal open any more
        while data := os.read(master, 65536):
            channel.sendall(data)
    channel.send_exit_status(process.wait())
    channel.close()


def _pass_in(channel: paramiko.Channel, master: int) -> None:
    """What the client writes; that it has ended is not passed on, as by sshd."""
    with suppress(OSError):
        while data := channel.recv(65536):
            while data:
                data = data[os.write(master, data) :]


def _without_terminal(channel: paramiko.Channel, command: bytes, _: None) -> None:
    stdin = channel.makefile("rb").read()
    done = subprocess.run(["sh", "-c", command], input=stdin, capture_output=True)
    channel.sendall(done.stdout)
    channel.sendall_stderr(done.stderr)
    channel.send_exit_status(done.returncode)
    channel.close()


def _serve() -> None:
    """Serve one connection, at a port that is printed with the server's key."""
    key = paramiko.ECDSAKey.generate()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], key.get_base64(), flush=True)
        transport = paramiko.Transport(listener.accept()[0])
    transport.add_server_key(key)
    transport.start_server(server=_Server())
    transport.join()


@contextmanager
def connected() -> Iterator[paramiko.SSHClient]:
    """A client that is connected to such a server, which is a process of its own: tests may run under gevent."""
    words = [sys.executable, "-m", __name__]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as server:
        assert server.stdout is not None
        port, key = server.stdout.readline().split()
        client = paramiko.SSHClient()
        served = paramiko.ECDSAKey(data=base64.b64decode(key))
        client.get_host_keys().add(f"[127.0.0.1]:{port}", served.get_name(), served)
        try:
            client.connect("127.0.0.1", int(port), "root", auth_strategy=_Nobody())
            yield client
        finally:
            client.close()
            server.kill()


class _Nobody(paramiko.auth_strategy.AuthStrategy):
    def __init__(self) -> None:
        super().__init__(ssh_config=None)

    def get_sources(self) -> Iterator[paramiko.auth_strategy.AuthSource]:
        yield paramiko.auth_strategy.NoneAuth("root")


if __name__ == "__main__":
    _serve()
