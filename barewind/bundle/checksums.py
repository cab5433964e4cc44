"""SHA256SUMS of a bundle: written when it is complete, checked before anything of it is used."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from barewind.bundle import AGAIN, CHECKSUMS
from barewind.errors import BarewindError
from barewind.transfers import Transfers

_CHUNK = 2**20  # bytes read at a time
_SOME = 5  # names in a message


def pieces(path: Path, length: int | None = None) -> Iterator[bytes]:
    """A file's bytes, or its first `length`."""
    left = path.stat().st_size if length is None else length
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
    lines = [f"{known.get(name) or sha256_of(path)}  {name}\n" for name, path in sorted(_files(directory).items())]
    text = "".join(lines)
    fresh = directory / (CHECKSUMS + ".new")
    fresh.write_text(text)
    fresh.rename(directory / CHECKSUMS)
    return hashlib.sha256(text.encode()).hexdigest()


def identity(directory: Path) -> str:
    """The SHA-256 of SHA256SUMS: it stands for the whole bundle.

    Raises:
        BarewindError: the bundle is not complete.
    """
    return hashlib.sha256(_text(directory).encode()).hexdigest()


def check(directory: Path, shown: Transfers) -> dict[str, str]:
    """Read every file of a bundle against SHA256SUMS; returns what that says: SHA-256 by name.

    Raises:
        BarewindError: it is not complete, or a file is missing, changed, or one too many.
    """
    wanted = {name: digest for digest, _, name in (line.partition("  ") for line in _text(directory).splitlines())}
    there = _files(directory)
    _refuse(directory, "missing", sorted(wanted.keys() - there.keys()))
    _refuse(directory, f"not in {CHECKSUMS}", sorted(there.keys() - wanted.keys()))
    changed = []
    with shown.begin("checking the bundle", sum(path.stat().st_size for path in there.values())) as transfer:
        for name, path in sorted(there.items()):
            hashed = hashlib.sha256()
            for piece in transfer.counted(pieces(path)):
                hashed.update(piece)
            if hashed.hexdigest() != wanted[name]:
                changed.append(name)
    _refuse(directory, "changed", changed)
    return wanted


def _text(directory: Path) -> str:
    try:
        return (directory / CHECKSUMS).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise BarewindError(f"{directory}: has no {CHECKSUMS}, so it is no complete bundle; {AGAIN}.") from error


def _refuse(directory: Path, what: str, names: list[str]) -> None:
    if names:
        more = f" and {len(names) - _SOME} more" if len(names) > _SOME else ""
        raise BarewindError(
            f"{directory}: {what}: {', '.join(names[:_SOME])}{more}. Nothing of it was used; copy it again, or {AGAIN}."
        )


def _files(directory: Path) -> dict[str, Path]:
    """Every file below a directory but SHA256SUMS, by its name there; a link would lead out of the bundle.

    Raises:
        BarewindError: there is a link, or something else that is no plain file.
    """
    found = {}
    for path in directory.rglob("*"):
        name = path.relative_to(directory).as_posix()
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise BarewindError(f"{path}: is no plain file; a bundle has no links. Copy it again, following links.")
        if path.is_file() and name != CHECKSUMS:
            found[name] = path
    return found
