"""Files that a host has already, in a directory of its own or on a network file system: checked and linked, never written."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from barewind.weights.agent.job import FileSet, Job, parts_of
from barewind.weights.agent.progress import Progress
from barewind.weights.agent.store import Store, StoreError

FAILED = 3  # exit status
_CHUNK = 2**22  # bytes read at a time
_INTERVAL = 0.1  # seconds between two looks at whether all files have been read


def run(job: Job, progress: Progress) -> int:
    """Do a job whose sets all have a path; returns the exit status."""
    progress.phase = "checking"
    try:
        for file_set in job.sets:
            _adopt(file_set, progress)
    except (StoreError, OSError) as error:
        message = (
            str(error) if isinstance(error, StoreError) else f"{error.filename}: {error.strerror}; correct weights_path"
        )
        progress.end("failed", message)
        print(f"{job.host}: {message}", file=sys.stderr)
        return FAILED
    progress.end("done")
    return 0


def _adopt(file_set: FileSet, progress: Progress) -> None:
    if file_set.path is None:
        raise StoreError(f"{file_set.directory}: no path given")
    path = _place(file_set, file_set.path)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        checks = [pool.submit(_check, file_set, path, name, progress) for name in file_set.files]
        while not all(check.done() for check in checks):
            time.sleep(_INTERVAL)
            progress.report_checked()
    for check in checks:
        check.result()
    Store(file_set, parts_of(file_set)).link(path)


def _place(file_set: FileSet, path: Path) -> Path:
    """The directory that holds the files: `path`, laid out as a host's own directory of weights, or ORG/NAME beside it."""
    plain = path.parent.parent / file_set.model
    for place in (path, plain):
        if place.is_dir():
            return place
    raise StoreError(
        f"weights {file_set.model}@{file_set.revision}: neither {path} nor {plain} is a directory; fill it, or correct "
        "weights_path"
    )


def _check(file_set: FileSet, path: Path, name: str, progress: Progress) -> None:
    locked = file_set.files[name]
    subject = f"weights {file_set.model}@{file_set.revision}: {path / name}"
    try:
        size = (path / name).stat().st_size
        if size != locked.size:
            raise StoreError(
                f"{subject} has {size} bytes, the lock says {locked.size}; fill weights_path with the locked revision"
            )
        digest = hashlib.sha256()
        with (path / name).open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
                progress.add_checked(len(chunk))
    except OSError as error:
        others = sorted(other.name for other in path.glob("*.safetensors") if other.name not in file_set.files)
        held = f", but {others[0]} is there: weights in another layout" if others else ""
        raise StoreError(f"{subject}: {error.strerror}{held}; fill weights_path with the locked revision") from error
    if digest.hexdigest() != locked.sha256:
        raise StoreError(
            f"{subject} has SHA-256 {digest.hexdigest()}, the lock says {locked.sha256}; nothing is served from it. Fill "
            "weights_path with the locked revision"
        )
