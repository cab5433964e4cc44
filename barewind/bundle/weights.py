"""Weights in and out of a bundle, file by file, each checked before it gets its name."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from barewind.bundle.about import WEIGHTS, weights_folder
from barewind.bundle.checksums import pieces, sha256_of
from barewind.errors import BarewindError
from barewind.lock.file import read_token
from barewind.lock.manifest import Manifest, WeightFile
from barewind.progress.meter import size
from barewind.progress.transfers import Transfer, Transfers
from barewind.spec.keys import EngineSpec

CACHE = ".partial"  # in a bundle: what the hub's client has begun


def fetch(manifest: Manifest, spec: EngineSpec, directory: Path, shown: Transfers) -> dict[str, str]:
    """Have a manifest's files in a bundle; their SHA-256 by name in it.

    Raises:
        BarewindError: a file cannot be had, or is not what the lock says; what came stays for the next time.
    """
    title = f"{manifest.model}@{manifest.revision[:12]} ({manifest.layout} layout)"
    folder = f"{WEIGHTS}/{weights_folder(manifest)}"
    missing = {name: file for name, file in manifest.files.items() if not _has(directory / folder / name, file)}
    with shown.begin(title, sum(file.size for file in missing.values())) as transfer:
        for name, file in missing.items():
            downloaded = _download(manifest, name, file, spec, directory / CACHE / manifest.model, transfer)
            _rename(downloaded, directory / folder / name)
    shown.say(f"{title}: {len(manifest.files)} files, {size(manifest.size)}")
    return {f"{folder}/{name}": file.sha256 for name, file in manifest.files.items()}


def place(manifest: Manifest, directory: Path, target: Path, shown: Transfers) -> None:
    """Copy a manifest's files from a bundle to where hosts or a web server find them; those that are right stay.

    Files lie as below the hub's address; a link beside them stands where hosts look that have the directory mounted.

    Raises:
        BarewindError: the target cannot be written to, or a file changed on its way.
    """
    source, final = (
        directory / WEIGHTS / weights_folder(manifest),
        target / weights_folder(manifest),
    )
    title = f"{manifest.model}@{manifest.revision[:12]} -> {final}"
    with shown.begin(title, manifest.size) as transfer:
        for name, file in manifest.files.items():
            try:
                if _has(final / name, file) and sha256_of(final / name) == file.sha256:
                    transfer.advance(file.size)
                    continue
                (final / name).parent.mkdir(parents=True, exist_ok=True)
                part = final / f"{name}.partial"
                with part.open("wb") as copied:
                    for piece in transfer.counted(pieces(source / name)):
                        copied.write(piece)
                    os.fsync(copied.fileno())
                right = sha256_of(part) == file.sha256
            except OSError as error:
                raise BarewindError(
                    f"{final / name}: {error.strerror}; free space there, or name another directory."
                ) from error
            if not right:
                part.unlink()
                raise BarewindError(
                    f"{final / name}: changed on its way and was thrown away; look at the disk, load again."
                )
            part.rename(final / name)
    _link(final, target / manifest.place)
    shown.say(title)


def _link(final: Path, link: Path) -> None:
    to = os.path.relpath(final, link.parent)
    try:
        link.parent.mkdir(parents=True, exist_ok=True)
        if link.is_symlink() and str(link.readlink()) == to:
            return
        if link.is_dir() and not link.is_symlink():
            return  # filled by other means
        link.unlink(missing_ok=True)
        link.symlink_to(to)
    except OSError as error:
        raise BarewindError(f"{link}: {error.strerror}; name a directory on a file system that has links.") from error


def _download(
    manifest: Manifest, name: str, file: WeightFile, spec: EngineSpec, cache: Path, transfer: Transfer
) -> Path:
    """A file from the hub, through its own client, which goes on where an earlier run broke off."""
    from huggingface_hub import hf_hub_download

    from barewind.lock.hub import FAILURES, explained

    subject = f"weights {manifest.model}@{manifest.revision}: {name} from {spec.hub_endpoint}"
    token = read_token(spec) or False
    local = cache / manifest.revision
    try:
        downloaded = Path(
            hf_hub_download(
                manifest.model,
                name,
                revision=manifest.revision,
                endpoint=spec.hub_endpoint,
                token=token,
                local_dir=local,
                tqdm_class=_counting(transfer),
            )
        )
        right = downloaded.stat().st_size == file.size and sha256_of(downloaded) == file.sha256
    except FAILURES as error:
        raise BarewindError(
            f"{subject}: cannot be fetched: {explained(error, with_token=bool(token))}. Then run again: it goes on where it was."
        ) from error
    except Exception as error:  # the client's own and its HTTP library's, which change between releases
        detail = str(error).splitlines()[0] if str(error) else "no detail"
        raise BarewindError(
            f"{subject}: cannot be fetched ({type(error).__name__}: {detail}). Check hub_endpoint, hub_token_file and the "
            "network, and run again: it goes on where it was."
        ) from error
    if not right:
        downloaded.unlink()
        shutil.rmtree(local / ".cache", ignore_errors=True)
        raise BarewindError(
            f"{subject}: is not what the lock says and was thrown away. Check the hub, or what stands between, and run again."
        )
    return downloaded


def _counting(transfer: Transfer) -> Any:
    """The client's progress bar, which only counts."""
    from tqdm import tqdm  # type: ignore[import-untyped]

    class Counting(tqdm):  # type: ignore[misc]
        def __init__(self, *args: Any, **given: Any) -> None:
            super().__init__(
                *args, **{name: value for name, value in given.items() if name != "name"} | {"disable": True}
            )
            transfer.advance(int(given.get("initial") or 0))

        def update(self, n: float | None = 1) -> bool | None:
            transfer.advance(int(n or 0))
            return None

    return Counting


def _rename(downloaded: Path, final: Path) -> None:
    final.parent.mkdir(parents=True, exist_ok=True)
    downloaded.rename(final)


def _has(path: Path, file: WeightFile) -> bool:
    return path.is_file() and path.stat().st_size == file.size
