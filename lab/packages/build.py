"""Writes all repositories into the cache, from where `services` serves them, and signs them with the lab's key."""

from __future__ import annotations

import hashlib
import os
import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from lab import paths, state
from lab.packages import amd, distribution, docker_ce, light, nvidia, repository, signing, toolkit
from lab.packages.repository import Repository
from lab.topology import REPOSITORIES


def root() -> Path:
    """Folder of all repositories."""
    return paths.cache() / "repositories"


def everything() -> Iterator[Repository]:
    """Every repository but Docker's, which docker_ce.py makes out of Debian's packages."""
    yield distribution.repository(os.uname().release)
    yield from nvidia.repositories()
    yield toolkit.repository()
    yield from amd.repositories()
    yield light.repository()


def ensure(*, with_docker: bool) -> str:
    """Write and sign the repositories unless they are there. Returns `kept` or `built`.

    `with_docker`: Docker's too, which takes longest; once made, it is kept.
    """
    signing.ensure()
    key = _key()
    record = root() / ".built"
    before = record.read_text() if record.exists() else ""
    outcome = "kept"
    if before != f"{key} docker" and (with_docker or before != key):
        _empty()
        for built in everything():
            repository.write(built, root())
        if with_docker or before.endswith("docker"):
            docker_ce.write(root())
            key += " docker"
        state.write_text(record, key)
        outcome = "built"
    signed = root() / ".signed"
    signer = f"{hashlib.sha256(signing.public_key().encode()).hexdigest()} {record.read_text()}"
    if not signed.exists() or signed.read_text() != signer:
        for release in sorted(root().glob("**/Release")):
            signing.sign(release)
        signing.stop_agent()
        state.write_text(signed, signer)
    return outcome


def served() -> bool:
    """Whether `services` serves the repositories."""
    try:
        with urllib.request.urlopen(f"{REPOSITORIES}/distribution/InRelease", timeout=2) as answer:  # noqa: S310 - a constant
            return bool(answer.status == 200)
    except OSError:
        return False


def _empty() -> None:
    """Remove all but the folder itself, which `services` has mounted."""
    root().mkdir(parents=True, exist_ok=True)
    for path in root().iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _key() -> str:
    """Digest of all that the repositories are made of: this folder, the commands' text, the names in the catalog, the kernel."""
    parts = [path.read_text() for path in sorted(Path(__file__).parent.glob("*.py"))]
    parts.append((Path(__file__).parents[1] / "simulated" / "stub.py").read_text())
    parts += [path.read_text() for path in sorted((Path(__file__).parents[1] / "light").glob("*.py"))]
    catalog = Path(__file__).parents[2] / "barewind" / "catalog"
    parts += [(catalog / name).read_text() for name in ("vendors.yaml", "docker.yaml")]
    return hashlib.sha256("\0".join([*parts, os.uname().release]).encode()).hexdigest()
