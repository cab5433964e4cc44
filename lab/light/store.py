"""What the stand-in records: images (on disk), containers and the daemon's settings (in /run, lost at a reboot)."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lab.light import processes
from lab.light.errors import DockerError

LAYERS = Path("/usr/lib/lab-light/layers")  # unpacked, the lab's machine has them for all hosts; read-only here
HOME = Path("/var/lib/docker")
IMAGES = HOME / "images"
WRITABLE = HOME / "writable"  # containers' own layers
RUN = Path("/run/docker")
CONTAINERS = RUN / "containers"
RUNC = RUN / "runc"
DAEMON = RUN / "daemon.json"  # what the running daemon goes by

Json = dict[str, Any]


def layer(digest: str) -> Path:
    """Where a layer's files are."""
    return LAYERS / digest.removeprefix("sha256:")


def write(path: Path, document: Json) -> None:
    """Write a record, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(json.dumps(document))
    partial.rename(path)


def _read(path: Path) -> Json | None:
    try:
        document: Json = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return document


def daemon() -> Json:
    """Settings of the running daemon; DockerError where none runs."""
    settings = _read(DAEMON)
    if settings is None or not processes.lives(settings["process"]):
        raise DockerError(
            "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"
        )
    return settings


def images() -> list[Json]:
    """All images, each with `id`, `name` (of the repository), `digest`, `layers`, `config`."""
    found = (_read(path) for path in sorted(IMAGES.glob("*.json")))
    return [image for image in found if image is not None]


def image(reference: str) -> Json:
    """An image by NAME@DIGEST or id; DockerError where there is none."""
    for known in images():
        if reference in (f"{known['name']}@{known['digest']}", known["id"], known["id"].removeprefix("sha256:")):
            return known
    raise DockerError(f"Error: No such image: {reference}")


def containers() -> list[Json]:
    """All containers. What is left of one that has ended, and whose command was killed, is removed: each has --rm."""
    found = []
    for path in sorted(CONTAINERS.glob("*/container.json")):
        container = _read(path)
        if container is None:
            continue
        if processes.lives(container["process"]) or processes.lives(container["client"]):
            found.append(container)
        else:
            discard(container["id"])
    return found


def container(name: str) -> Json:
    """A container by name or id; DockerError where there is none."""
    for known in containers():
        if name in (known["name"], known["id"], known["id"][:12]):
            return known
    raise DockerError(f"Error: No such container: {name}")


def discard(identifier: str) -> None:
    """Remove what there is of a container that has ended."""
    runc("delete", "--force", identifier, check=False)
    folder = CONTAINERS / identifier
    subprocess.run(["umount", "--lazy", str(folder / "rootfs")], capture_output=True, check=False)
    shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(WRITABLE / identifier, ignore_errors=True)


def runc(*words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run runc on the stand-in's containers."""
    done = subprocess.run(["runc", "--root", str(RUNC), *words], capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise DockerError(f"docker: Error response from daemon: runc {words[0]}: {done.stderr.strip()}", 125)
    return done


@contextlib.contextmanager
def locked(what: str) -> Iterator[None]:
    """One at a time on this host."""
    import fcntl

    RUN.mkdir(parents=True, exist_ok=True)
    with (RUN / f"{what}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
