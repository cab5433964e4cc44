"""Facts of our own. Each is one shell script with named sections: one SSH round trip for all that a step must know."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable
from typing import Any

from pyinfra.api.exceptions import FactProcessError

_MARK = "@@barewind:"
_END = "end"


def script(**sections: str) -> str:
    """One POSIX shell script that runs every section and marks where its output begins. A failing section is empty."""
    parts = [f"echo {_MARK}{name}; {{ {body.strip()}\n}} 2>/dev/null" for name, body in sections.items()]
    return "export LC_ALL=C; " + "\n".join(parts) + f"\necho {_MARK}{_END}"


def split(output: list[str]) -> dict[str, list[str]]:
    """The lines of each section.

    Raises:
        FactProcessError: the output breaks off before its end: a part of the truth would be taken for all of it.
    """
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in output:
        before, mark, name = line.partition(_MARK)
        if before or not mark:  # a file without a final newline has the next mark on its last line
            lines.append(before)
        if mark:
            lines = found.setdefault(name, [])
    if found.pop(_END, None) is None:
        raise FactProcessError("the host's answer breaks off; look at its login scripts and disk space")
    return found


def objects(lines: Iterable[str]) -> list[dict[str, Any]]:
    """Lines of JSON objects; what is none, or was only half-written, is left out."""
    found = []
    for line in lines:
        try:
            one = json.loads(line)
        except ValueError:
            continue
        if isinstance(one, dict):
            found.append(one)
    return found


def quoted(words: list[str]) -> str:
    """Words for a shell command line."""
    return " ".join(shlex.quote(word) for word in words)


# Mode, owner, group and SHA-256 of each file named after it; a missing file is left out.
FILES = (
    'for f in %s; do [ -f "$f" ] && echo "$(stat -c "%%a %%U %%G" "$f") $(sha256sum < "$f" | cut -d" " -f1) $f"; done'
)


def read_files(lines: list[str]) -> dict[str, dict[str, str]]:
    """What `FILES` prints, by path."""
    found = {}
    for line in lines:
        fields = line.split(" ", 4)
        if len(fields) == 5:
            found[fields[4]] = dict(zip(("mode", "owner", "group", "sha256"), fields, strict=False))
    return found
