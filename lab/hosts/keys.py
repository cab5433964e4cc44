"""The SSH key for all hosts, made at `up`, and the hosts' own keys, known before anybody connects."""

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from lab import paths, state, topology
from lab.machine import docker


def private_path() -> Path:
    """File of the private key for all hosts."""
    return paths.state() / "id_ed25519"


def known_hosts_path() -> Path:
    """File known_hosts of the lab's hosts."""
    return paths.state() / "known_hosts"


def ensure() -> str:
    """Make the key pair unless it is there; returns the public key's line."""
    public = private_path().with_suffix(".pub")
    if not (private_path().exists() and public.exists()):
        private = Ed25519PrivateKey.generate()
        line = private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode() + " barewind-lab\n"
        secret = private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
        state.write_text(private_path(), secret, mode=0o600)
        state.write_text(public, line)
    return public.read_text()


def write_known_hosts(hosts: tuple[topology.Host, ...]) -> None:
    """Write known_hosts with the hosts' keys, read inside the containers and not over the network."""
    lines = []
    for host in hosts:
        public = docker.docker("exec", host.container, "cat", "/etc/ssh/ssh_host_ed25519_key.pub").stdout
        kind, key = public.split()[:2]
        lines.append(f"{host.address},{host.name} {kind} {key}\n")
    text = "".join(lines)
    if not known_hosts_path().exists() or known_hosts_path().read_text() != text:
        state.write_text(known_hosts_path(), text)
