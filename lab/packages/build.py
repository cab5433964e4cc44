"""All repositories into the cache, where `services` serves them from, and signed by the lab's key."""

from __future__ import annotations

import hashlib
import os
import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from lab import paths, state
from lab.packages import amd, distribution, docker_ce, nvidia, repository, signing, toolkit
from lab.packages.repository import Repository
from lab.topology import REPOSITORIES


def root() -> Path:
    """The repositories' root."""
    return paths.cache() / "repositories"


def everything() -> Iterator[Repository]:
    """Every repository but Docker's, which is made of Debian's packages."""
    yield distribution.repository(os.uname().release)
    yield from nvidia.repositories()
    yield toolkit.repository()
    yield from amd.repositories()


def ensure(*, with_docker: bool) -> str:
    """Have every repository, signed. Returns `kept` or `built`.

    Docker's takes longest, so it is made only when asked for, and kept from then on.
    """
    signing.ensure()
    key = _key()
    record = root() / ".built"
    before = record.read_text() if record.exists() else ""
    made = "kept"
    if before != f"{key} docker" and (with_docker or before != key):
        _empty()
        for one in everything():
            repository.write(one, root())
        if with_docker or before.endswith("docker"):
            docker_ce.write(root())
            key += " docker"
        state.write_text(record, key)
        made = "built"
    signed = root() / ".signed"
    signer = f"{hashlib.sha256(signing.public_key().encode()).hexdigest()} {record.read_text()}"
    if not signed.exists() or signed.read_text() != signer:
        for release in sorted(root().glob("**/Release")):
            signing.sign(release)
        signing.stop_agent()
        state.write_text(signed, signer)
    return made


def served() -> bool:
    """Does `services` hand them out?"""
    try:
        with urllib.request.urlopen(f"{REPOSITORIES}/distribution/InRelease", timeout=2) as answer:  # noqa: S310 - a constant
            return bool(answer.status == 200)
    except OSError:
        return False


def _empty() -> None:
    """Take everything away but the folder itself, which `services` has mounted."""
    root().mkdir(parents=True, exist_ok=True)
    for path in root().iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _key() -> str:
    """Names what the repositories are made of: this folder, the stubs, the names in drivers.yaml, the kernel."""
    parts = [path.read_text() for path in sorted(Path(__file__).parent.glob("*.py"))]
    parts.append((Path(__file__).parent.parent / "simulated_host.py").read_text())
    parts.append((Path(__file__).parents[2] / "barewind" / "catalog" / "drivers.yaml").read_text())
    return hashlib.sha256("\0".join([*parts, os.uname().release]).encode()).hexdigest()
