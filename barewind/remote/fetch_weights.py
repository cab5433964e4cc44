"""Download the files of a manifest and let their directory appear only when every file's SHA-256 is right.

Runs inside an engine image, whose Python has the hub's client. Reads one JSON object on standard input:
{"host", "model", "revision", "endpoint", "token", "directory", "files": {name: {"size": bytes, "sha256": hex}}}.
Ends with status 1 and one sentence on standard error when a file cannot be had; files that are complete stay for the next run.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

WORKERS = 4  # files at a time
CHUNK = 16 * 2**20  # bytes read at a time
ATTEMPTS = 2  # downloads of a file whose checksum is wrong


class FetchError(Exception):
    """A file cannot be had; the text says which and why."""


def main() -> int:
    """Do the job on standard input; 0 when the directory is complete."""
    job = json.load(sys.stdin)
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    os.environ.pop("HF_HUB_OFFLINE", None)
    try:
        fetch(job)
    except FetchError as error:
        print(f"{job['host']}: {error}", file=sys.stderr)
        return 1
    return 0


def fetch(job: dict[str, Any]) -> None:
    """Complete the job's directory.

    Raises:
        FetchError: a file is not to be had, or what the hub sends is not what the manifest says.
    """
    final = Path(job["directory"])
    work = final.with_name(final.name + ".partial")
    if final.exists():  # something in it changed: nothing may be served from it until it is right again
        shutil.rmtree(work, ignore_errors=True)
        final.rename(work)
    work.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(work / ".cache", ignore_errors=True)  # unfinished files of a run that was killed
    with ThreadPoolExecutor(WORKERS) as pool:
        for _ in pool.map(lambda name: complete(job, work, name), job["files"]):
            pass
    shutil.rmtree(work / ".cache", ignore_errors=True)
    for path in sorted(work.rglob("*")):
        if path.is_file() and str(path.relative_to(work)) not in job["files"]:
            path.unlink()
    names = sorted(job["files"])
    sums = "".join(f"{job['files'][name]['sha256']}  {name}\n" for name in names)
    (work / "SHA256SUMS").write_text(sums)
    (work / ".verified").write_text("".join(snapshot(work / name, name) for name in names))
    os.sync()
    work.rename(final)


def complete(job: dict[str, Any], work: Path, name: str) -> None:
    """Have one right file in the work directory."""
    wanted = job["files"][name]
    path = work / name
    found = ""
    for attempt in range(ATTEMPTS + 1):
        if path.is_file() and path.stat().st_size == wanted["size"]:
            found = sha256(path)
            if found == wanted["sha256"]:
                path.chmod(0o444)
                return
        if attempt < ATTEMPTS:
            path.unlink(missing_ok=True)
            (work / ".cache" / "huggingface" / "download" / f"{name}.metadata").unlink(missing_ok=True)
            download(job, work, name)
    size = path.stat().st_size if path.is_file() else 0
    path.unlink(missing_ok=True)
    raise FetchError(
        f"weights {job['model']}@{job['revision']}: {name} from {job['endpoint']} is {size} bytes with SHA-256 "
        f"{found or '(size differs)'}, the lock says {wanted['size']} bytes with {wanted['sha256']}. It was thrown away; "
        "nothing is served from it. Check the hub, or what stands between, and run again."
    )


def download(job: dict[str, Any], work: Path, name: str) -> None:
    """Fetch one file with the hub's client."""
    from huggingface_hub import hf_hub_download

    try:
        hf_hub_download(
            job["model"],
            name,
            revision=job["revision"],
            endpoint=job["endpoint"],
            token=job["token"] or False,
            local_dir=work,
        )
    except Exception as error:  # the client's own and its HTTP library's, which changes between releases
        raise FetchError(
            f"weights {job['model']}@{job['revision']}: {name} cannot be fetched from {job['endpoint']} "
            f"({type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no detail'}). Hosts that have the "
            "weights are not affected. Check hub_endpoint, the network and hub_token_file, and run again."
        ) from error


def sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def snapshot(path: Path, name: str) -> str:
    """Name, size and time of change as `stat -c '%n %s %.9Y'` prints them."""
    stat = path.stat()
    return f"{name} {stat.st_size} {stat.st_mtime_ns // 10**9}.{stat.st_mtime_ns % 10**9:09d}\n"


if __name__ == "__main__":
    sys.exit(main())
