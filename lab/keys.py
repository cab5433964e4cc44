"""Secrets of the lab, made at `up`: one SSH key, the hub's token; and the hosts' keys, known before anyone connects."""

import secrets
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from lab import docker, paths, state, topology


def private_path() -> Path:
    """The private key that opens every host of the lab."""
    return paths.state() / "id_ed25519"


def known_hosts_path() -> Path:
    """known_hosts with exactly the lab's hosts."""
    return paths.state() / "known_hosts"


def hub_token_path() -> Path:
    """The token that opens the hub's gated repository."""
    return paths.state() / "hub_token"


def hub_token() -> str:
    """Have a token."""
    if not hub_token_path().exists():
        state.write_text(hub_token_path(), f"hf_lab{secrets.token_hex(12)}\n", mode=0o600)
    return hub_token_path().read_text().strip()


def ensure() -> str:
    """Have a key pair; returns the public line."""
    public = private_path().with_suffix(".pub")
    if not (private_path().exists() and public.exists()):
        made = Ed25519PrivateKey.generate()
        line = made.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode() + " barewind-lab\n"
        secret = made.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
        state.write_text(private_path(), secret, mode=0o600)
        state.write_text(public, line)
    return public.read_text()


def write_known_hosts(hosts: tuple[topology.Host, ...]) -> None:
    """Ask each host for its key from inside, not over the network: nobody can stand between."""
    lines = []
    for host in hosts:
        shown = docker.docker("exec", host.container, "cat", "/etc/ssh/ssh_host_ed25519_key.pub").stdout
        kind, key = shown.split()[:2]
        lines.append(f"{host.address},{host.name} {kind} {key}\n")
    text = "".join(lines)
    if not known_hosts_path().exists() or known_hosts_path().read_text() != text:
        state.write_text(known_hosts_path(), text)
