"""Layers of images: locked packages installed into a folder, files that are pushed while they are packed."""

import hashlib
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from lab import paths, proc
from lab.errors import LabError
from lab.services import registry

PYTHON = "3.11"  # of Debian 12
SITE = f"usr/local/lib/python{PYTHON}/dist-packages"


class Layer(NamedTuple):
    """A layer in the registry. `digest`: of its bytes as stored; `diff_id`: of the tar archive in it."""

    digest: str
    size: int  # bytes, as stored
    diff_id: str

    @property
    def entry(self) -> registry.Json:
        """The layer's entry in a manifest."""
        return {"mediaType": registry.LAYER, "digest": self.digest, "size": self.size}


def partial(name: str) -> Path:
    """A new folder in the cache to build something in. Those of interrupted runs are removed."""
    for old in paths.cache().glob(f"{name}-partial-*"):
        shutil.rmtree(old, ignore_errors=True)
    work = paths.cache() / f"{name}-partial-{os.getpid()}"
    work.mkdir(parents=True)
    return work


def install(requirements: Path, site: Path, *options: str) -> None:
    """Install locked requirements into a folder. Its files are hard links into uv's cache: never write into them."""
    fixed = [
        "--target",
        str(site),
        "--python-version",
        PYTHON,
        "--no-deps",
        "--require-hashes",
        "--link-mode",
        "hardlink",
    ]
    site.mkdir(parents=True)
    proc.run([*_uv(), "pip", "install", "--quiet", *fixed, *options, "--requirements", str(requirements)])


def folder(root: Path) -> list[str]:
    """Command that writes a folder as a tar archive."""
    owner = ["--owner=0", "--group=0", "--numeric-owner"]
    return ["tar", "--create", "--sort=name", *owner, "--directory", str(root), "."]


def push(tar: Sequence[str], repository: str, *, level: int = 1) -> Layer:
    """Push the tar archive that a command writes. `level`: gzip's; 1 suits what crosses the lab's bridge a few times."""
    diff = hashlib.sha256()
    blob = registry.push_blob(_compressed(tar, diff, level), repository)
    return Layer(blob.digest, blob.size, f"sha256:{diff.hexdigest()}")


def _uv() -> list[str]:
    beside = Path(sys.executable).parent / "uv"
    program = str(beside) if beside.exists() else shutil.which("uv")
    if program:
        return [program]
    home = paths.cache() / "uv"
    if not (home / "bin" / "uv").exists():
        proc.run([sys.executable, "-m", "venv", str(home)])
        proc.run([str(home / "bin" / "pip"), "install", "--quiet", "uv"])
    return [str(home / "bin" / "uv")]


def _compressed(tar: Sequence[str], diff: "hashlib._Hash", level: int) -> Iterator[bytes]:
    """The bytes of a tar archive after gzip; `diff` hashes those before."""
    archive = subprocess.Popen(tar, stdout=subprocess.PIPE)
    gzip = subprocess.Popen(["pigz", f"-{level}", "--stdout"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    source, sink, packed = archive.stdout, gzip.stdin, gzip.stdout
    if source is None or sink is None or packed is None:
        raise AssertionError("pipes were asked for")

    def feed() -> None:
        while chunk := source.read(1 << 20):
            diff.update(chunk)
            sink.write(chunk)
        sink.close()

    feeder = threading.Thread(target=feed)
    feeder.start()
    while chunk := packed.read(1 << 20):
        yield chunk
    feeder.join()
    if archive.wait() or gzip.wait():
        raise LabError("a layer of an image could not be packed; is the disk full? See `df -h`")
