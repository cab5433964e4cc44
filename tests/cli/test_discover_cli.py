"""Host keys that nobody knows yet, as a person in a terminal meets them: this machine, by an SSH server of its own."""

from __future__ import annotations

import os
import runpy
import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import paramiko
import pytest

from tests.support.commands import ROOT
from tests.support.ssh_server import serving
from tests.support.terminal import Terminal

QUESTION = "Are these the hosts' keys? They are kept in"
SUDO = """#!/bin/sh
while [ "${1#-}" != "$1" ]; do shift; done
exec "$@"
"""


@dataclass(frozen=True)
class Host:
    """This machine as a host that discover is told of."""

    port: int
    folder: Path

    @property
    def name(self) -> str:
        """What known_hosts calls it."""
        return f"[127.0.0.1]:{self.port}"

    @property
    def known_hosts(self) -> Path:
        return self.folder / "ssh" / "known_hosts"

    def served_key(self) -> str:
        """Fingerprint of the key that its server has, as ssh-keygen prints it."""
        return fingerprint(subprocess.check_output(["ssh-keyscan", "-p", str(self.port), "127.0.0.1"]))

    def discover(self) -> Terminal:
        words = ["--key", str(self.folder / "key"), "--known-hosts", str(self.known_hosts), "--output", "site"]
        return Terminal(
            [str(ROOT / ".venv/bin/barewind"), "discover", *words, f"127.0.0.1:{self.port}"],
            columns=200,
            folder=self.folder,
            environment=os.environ | {"TERM": "xterm-256color"},
        )


def fingerprint(lines: bytes) -> str:
    printed = subprocess.run(["ssh-keygen", "-lf", "-"], input=lines, capture_output=True, check=True).stdout.decode()
    return printed.split()[1]


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    sudo = tmp_path / "bin" / "sudo"  # the machine of a test need not have one
    sudo.parent.mkdir()
    sudo.write_text(SUDO)
    sudo.chmod(0o755)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key")], check=True)
    environment = {"PATH": f"{sudo.parent}:{os.environ['PATH']}", "SSH_CONNECTION": "127.0.0.1 40000 127.0.0.1 22"}
    with serving(tmp_path / "log", environment) as port:
        yield Host(port, tmp_path)


def test_a_key_that_is_confirmed_is_kept_as_ssh_keeps_it_and_not_asked_for_again(host: Host) -> None:
    with host.discover() as terminal:
        terminal.wait_for(QUESTION)
        assert f"127.0.0.1: unknown host key ECDSA-SHA2-NISTP256 {host.served_key()}" in terminal.plain
        assert (
            "On the host: ssh-keygen -lf /etc/ssh/ssh_host_ecdsa_key.pub prints what must be the same."
            in terminal.plain
        )
        assert not host.known_hosts.exists()
        terminal.type("y\n")
        terminal.wait_for("Write these to site?")
        terminal.type("y\n")
        assert terminal.end() == 0
    kept = subprocess.run(
        ["ssh-keygen", "-F", host.name, "-f", str(host.known_hosts)], capture_output=True, check=True
    ).stdout
    assert fingerprint(kept) == host.served_key()
    assert host.known_hosts.stat().st_mode & 0o777 == 0o600
    assert runpy.run_path(str(host.folder / "site/inventory/prod.py"))["balancers"][0][0] == "127.0.0.1"

    with host.discover() as terminal:
        terminal.wait_for("Write these to site?")
        assert "unknown host key" not in terminal.plain


def test_a_key_that_is_not_confirmed_is_not_kept_and_its_host_not_looked_at(host: Host) -> None:
    with host.discover() as terminal:
        terminal.wait_for(QUESTION)
        terminal.type("n\n")
        assert terminal.end() == 1
        assert "127.0.0.1: left out: its host key was not confirmed; compare it" in terminal.plain
        assert "nothing was written" in terminal.plain
    assert not host.known_hosts.exists()
    assert not (host.folder / "site").exists()
    assert not (host.folder / "log").exists()  # no command has been run there


def test_a_key_that_has_changed_is_refused_without_a_question(host: Host) -> None:
    other = paramiko.ECDSAKey.generate()
    host.known_hosts.parent.mkdir()
    host.known_hosts.write_text(f"{host.name} {other.get_name()} {other.get_base64()}\n")
    before = host.known_hosts.read_text()
    with host.discover() as terminal:
        assert terminal.end() == 1
        assert QUESTION not in terminal.plain
        assert "127.0.0.1: left out: " in terminal.plain
        assert "does not match.); it has another key than known_hosts says" in terminal.plain
    assert host.known_hosts.read_text() == before
    assert not (host.folder / "log").exists()


def test_what_is_no_ssh_server_is_told_without_a_traceback(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=lambda: listener.accept()[0].close(), daemon=True).start()
        words = ["discover", "--known-hosts", str(tmp_path / "known"), f"127.0.0.1:{listener.getsockname()[1]}"]
        done = subprocess.run([str(ROOT / ".venv/bin/barewind"), *words], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    first, second = done.stderr.splitlines()
    assert first.startswith("127.0.0.1: left out: ")
    assert second == "Error: nothing was written: no host can be written down, see above."


def test_a_host_that_does_not_answer_has_its_remedy(tmp_path: Path) -> None:
    words = ["discover", "--known-hosts", str(tmp_path / "known"), "127.0.0.1:9"]
    done = subprocess.run([str(ROOT / ".venv/bin/barewind"), *words], cwd=tmp_path, capture_output=True, text=True)
    assert done.stderr.startswith("127.0.0.1: left out: Connection refused; nothing answers there: is the host up")


def test_the_verification_goes_the_way_of_the_ssh_configuration_too(host: Host) -> None:
    """As pyinfra does: hosts that discover has found by their names there are verified by these."""
    folder = host.folder / ".ssh"
    folder.mkdir()
    way = f"  HostName 127.0.0.1\n  Port {host.port}\n  User ops\n  IdentityFile {host.folder}/key\n"
    (folder / "config").write_text(f"Host gpu1\n{way}")
    program = "from barewind.verify.connection import connect; print(connect('gpu1', {}).run('echo there').stdout)"

    def verified() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(ROOT / ".venv/bin/python"), "-c", program],
            cwd=ROOT,
            env=os.environ | {"HOME": str(host.folder)},
            capture_output=True,
            text=True,
        )

    assert "not found in known_hosts" in verified().stderr
    scanned = subprocess.check_output(["ssh-keyscan", "-p", str(host.port), "127.0.0.1"], stderr=subprocess.DEVNULL)
    (folder / "known_hosts").write_bytes(scanned)
    assert verified().stdout.strip() == "there"
