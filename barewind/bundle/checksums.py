"""SHA256SUMS of a bundle: written when it is complete, checked before anything of it is used."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from barewind.bundle.about import AGAIN
from barewind.checksums import SUMS, read_sums, sums
from barewind.errors import BarewindError
from barewind.progress.transfers import Transfers

_CHUNK = 2**20  # bytes read at a time
_NAMES = 5  # at most, in a message


def pieces(path: Path, length: int | None = None) -> Iterator[bytes]:
    """A file's bytes, or its first `length`."""
    left = path.stat().st_size if length is None else length  # bytes
    if not left:
        return
    with path.open("rb") as file:
        while left and (piece := file.read(min(_CHUNK, left))):
            left -= len(piece)
            yield piece


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    hashed = hashlib.sha256()
    for piece in pieces(path):
        hashed.update(piece)
    return hashed.hexdigest()


def write(directory: Path, known: Mapping[str, str]) -> str:
    """Write SHA256SUMS over every file of a directory; `known` has those that were checked just now. Returns its SHA-256."""
    text = sums({name: known.get(name) or sha256_of(path) for name, path in _files(directory).items()})
    fresh = directory / (SUMS + ".new")
    fresh.write_text(text)
    fresh.rename(directory / SUMS)
    return hashlib.sha256(text.encode()).hexdigest()


def identity(directory: Path) -> str:
    """The SHA-256 of SHA256SUMS: it stands for the whole bundle.

    Raises:
        BarewindError: the bundle is not complete.
    """
    return hashlib.sha256(_text(directory).encode()).hexdigest()


def check(directory: Path, shown: Transfers) -> dict[str, str]:
    """Read every file of a bundle against SHA256SUMS; returns the SHA-256 of each by name.

    Raises:
        BarewindError: it is not complete, or a file is missing, changed, or one too many.
    """
    expected = read_sums(_text(directory))
    present = _files(directory)
    _refuse(directory, "missing", sorted(expected.keys() - present.keys()))
    _refuse(directory, f"not in {SUMS}", sorted(present.keys() - expected.keys()))
    changed = []
    with shown.begin("checking the bundle", sum(path.stat().st_size for path in present.values())) as transfer:
        for name, path in sorted(present.items()):
            hashed = hashlib.sha256()
            for piece in transfer.counted(pieces(path)):
                hashed.update(piece)
            if hashed.hexdigest() != expected[name]:
                changed.append(name)
    _refuse(directory, "changed", changed)
    return expected


def _text(directory: Path) -> str:
    try:
        return (directory / SUMS).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise BarewindError(f"{directory}: has no {SUMS}, so it is no complete bundle; {AGAIN}.") from error


def _refuse(directory: Path, finding: str, names: list[str]) -> None:
    if names:
        more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
        raise BarewindError(
            f"{directory}: {finding}: {', '.join(names[:_NAMES])}{more}. Nothing of it was used; copy it again, or {AGAIN}."
        )


def _files(directory: Path) -> dict[str, Path]:
    """Every file below a directory but SHA256SUMS, by its name there; a link would lead out of the bundle.

    Raises:
        BarewindError: there is a link, or something else that is no plain file.
    """
    files = {}
    for path in directory.rglob("*"):
        name = path.relative_to(directory).as_posix()
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise BarewindError(f"{path}: is no plain file; a bundle has no links. Copy it again, following links.")
        if path.is_file() and name != SUMS:
            files[name] = path
    return files
