"""What the lab's images are made of: locked packages installed into a folder, files packed and pushed while they are made."""

import hashlib
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from lab import hosts, paths, proc, registry, topology
from lab.errors import LabError

PYTHON = "3.11"  # of Debian 12
SITE = f"usr/local/lib/python{PYTHON}/dist-packages"


class Layer(NamedTuple):
    """A layer in the registry. `digest` is of the bytes as stored, `diff_id` of the tar inside."""

    digest: str
    size: int  # bytes, as stored
    diff_id: str

    @property
    def entry(self) -> registry.Json:
        """How a manifest names it."""
        return {"mediaType": registry.LAYER, "digest": self.digest, "size": self.size}


def partial(name: str) -> Path:
    """A folder in the cache to prepare something in; what runs that were cut off left of it goes."""
    for old in paths.cache().glob(f"{name}-partial-*"):
        shutil.rmtree(old, ignore_errors=True)
    work = paths.cache() / f"{name}-partial-{os.getpid()}"
    work.mkdir(parents=True)
    return work


def install(requirements: Path, site: Path, *options: str) -> None:
    """Install exactly the locked requirements into a folder. Its files are hard links into uv's cache: never write into them."""
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
    """Command that writes a folder as a tar."""
    owner = ["--owner=0", "--group=0", "--numeric-owner"]
    return ["tar", "--create", "--sort=name", *owner, "--directory", str(root), "."]


def push(tar: Sequence[str], repository: str = registry.REPOSITORY, *, level: int = 1) -> Layer:
    """Push what a command writes as a tar; `level` is gzip's: 1 for what travels one bridge once."""
    diff = hashlib.sha256()
    blob = registry.push_blob(_compressed(tar, diff, level), repository)
    return Layer(blob.digest, blob.size, f"sha256:{diff.hexdigest()}")


def collect_garbage() -> None:
    """Have the registry forget what no tag names any more, which would stay in the cache for ever."""
    collect = ["docker-registry", "garbage-collect", "--delete-untagged", hosts.REGISTRY_FILE]
    hosts.exec(topology.SERVICES, collect, timeout=120)


def _uv() -> list[str]:
    beside = Path(sys.executable).parent / "uv"
    found = str(beside) if beside.exists() else shutil.which("uv")
    if found:
        return [found]
    home = paths.cache() / "uv"
    if not (home / "bin" / "uv").exists():
        proc.run([sys.executable, "-m", "venv", str(home)])
        proc.run([str(home / "bin" / "pip"), "install", "--quiet", "uv"])
    return [str(home / "bin" / "uv")]


def _compressed(tar: Sequence[str], diff: "hashlib._Hash", level: int) -> Iterator[bytes]:
    """A tar's bytes after gzip, hashing what goes in."""
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
