"""Files that a host has already, in a directory of its own or on a network file system: checked and linked, never written."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from barewind.remote.job import FileSet, Job, parts
from barewind.remote.progress import Progress
from barewind.remote.store import Store, StoreError

FAILED = 3  # exit status
_CHUNK = 2**22  # bytes read at a time
_LOOK = 1.0  # seconds between two notes of progress


def run(job: Job, progress: Progress) -> int:
    """Do a job whose sets all have a path; the exit status."""
    progress.phase = "checking"
    try:
        for one in job.sets:
            _adopt(one, progress)
    except (StoreError, OSError) as error:
        text = (
            str(error) if isinstance(error, StoreError) else f"{error.filename}: {error.strerror}; correct weights_path"
        )
        progress.end("failed", text)
        print(f"{job.host}: {text}", file=sys.stderr)
        return FAILED
    progress.end("done")
    return 0


def _adopt(one: FileSet, progress: Progress) -> None:
    if one.path is None:
        raise StoreError(f"{one.directory}: no path given")
    path = _place(one, one.path)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        running = [pool.submit(_check, one, path, name, progress) for name in one.files]
        while not all(each.done() for each in running):
            time.sleep(_LOOK / 10)
            progress.tick()
    for each in running:
        each.result()
    Store(one, parts(one)).link(path)


def _place(one: FileSet, path: Path) -> Path:
    """Where the files are: `path` is laid out as a host's own directory of weights; ORG/NAME beside it will do too."""
    plain = path.parent.parent / one.model
    for place in (path, plain):
        if place.is_dir():
            return place
    raise StoreError(
        f"weights {one.model}@{one.revision}: neither {path} nor {plain} is a directory; fill it, or correct weights_path"
    )


def _check(one: FileSet, path: Path, name: str, progress: Progress) -> None:
    wanted = one.files[name]
    what = f"weights {one.model}@{one.revision}: {path / name}"
    try:
        size = (path / name).stat().st_size
        if size != wanted.size:
            raise StoreError(
                f"{what} has {size} bytes, the lock says {wanted.size}; fill weights_path with the locked revision"
            )
        digest = hashlib.sha256()
        with (path / name).open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
                progress.count(len(chunk))
    except OSError as error:
        raise StoreError(f"{what}: {error.strerror}; fill weights_path with the locked revision") from error
    if digest.hexdigest() != wanted.sha256:
        raise StoreError(
            f"{what} has SHA-256 {digest.hexdigest()}, the lock says {wanted.sha256}; nothing is served from it. Fill "
            "weights_path with the locked revision"
        )
