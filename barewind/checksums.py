"""What lies beside files that were checked: their SHA-256, and a mark of how they were then.

The program that copies weights (weights/agent/) takes this file with it to the hosts: the standard library is all it needs.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

SUMS = "SHA256SUMS"  # as sha256sum prints it, so that a person can check a directory: sha256sum -c SHA256SUMS
VERIFIED = ".verified"  # one line per file, as STAT prints it: a file that is changed later has another line
# Name, size in bytes, time of change in seconds; names follow. The stat of uutils (0.10.0, Ubuntu 26.04) rounds the time's last
# digits away; GNU's is beside it as gnustat (package gnu-coreutils, which uutils' own packages depend on).
STAT = "$(command -v gnustat || echo stat) -L -c '%n %s %.9Y'"


def sums(files: Mapping[str, str]) -> str:
    """The content of SHA256SUMS; `files` has the SHA-256 of each by name."""
    return "".join(f"{sha256}  {name}\n" for name, sha256 in sorted(files.items()))


def read_sums(text: str) -> dict[str, str]:
    """The SHA-256 of each file by name, from the content of SHA256SUMS."""
    return {name: sha256 for sha256, _, name in (line.partition("  ") for line in text.splitlines())}


def verified(directory: Path, names: Iterable[str]) -> str:
    """The content of `.verified` for files of a directory as they are now.

    Raises:
        OSError: one of them is not there.
    """
    return "".join(_line(name, (directory / name).stat()) for name in sorted(names))


def _line(name: str, status: os.stat_result) -> str:
    return f"{name} {status.st_size} {status.st_mtime_ns // 10**9}.{status.st_mtime_ns % 10**9:09d}\n"
