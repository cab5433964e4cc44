"""Writing the files of a site: never over one that is there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from barewind.errors import BarewindError

_BESIDE = {".git", ".venv", "LICENSE", "README.md", ".gitignore"}  # what a fresh repository may have
_MARKS = ("config.py", "deploy.py")  # a folder where one of these names Barewind is a site


def write(folder: Path, files: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Write the files that a folder lacks: those that were written, and those that are there and other than a new site has.

    Raises:
        BarewindError: the folder has other things in it and is no site, or cannot be written to; nothing was written then.
    """
    try:
        there = {path.name for path in folder.iterdir()} if folder.exists() else set()
        if there - _BESIDE and not _is_site(folder):
            raise BarewindError(
                f"{folder}: has {', '.join(sorted(there - _BESIDE)[:5])} in it and is no site; nothing was written. "
                "Name an empty folder."
            )
        new = [name for name in files if not (folder / name).exists()]
        differing = [name for name in files if name not in new and (folder / name).read_text() != files[name]]
        for name in new:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(files[name])
    except OSError as error:
        raise BarewindError(f"{error.filename or folder}: {error.strerror}; name another folder.") from error
    return new, differing


def _is_site(folder: Path) -> bool:
    marks = [folder / name for name in _MARKS]
    return any("barewind" in mark.read_text(errors="replace") for mark in marks if mark.is_file())
