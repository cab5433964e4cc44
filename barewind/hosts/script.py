"""Scripts of facts: named sections in one shell script, so that a step learns all it must know in one SSH round trip."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable
from typing import Any

from pyinfra.api.exceptions import FactProcessError as FactProcessError

_MARK = "@@barewind:"
_END = "end"


def script(**sections: str) -> str:
    """POSIX shell script that runs every section and marks where its output begins. A section that fails has no output."""
    parts = [f"echo {_MARK}{name}; {{ {body.strip()}\n}} 2>/dev/null" for name, body in sections.items()]
    return "export LC_ALL=C; " + "\n".join(parts) + f"\necho {_MARK}{_END}"


def split(output: list[str]) -> dict[str, list[str]]:
    """The output of a script by section, in lines.

    Raises:
        FactProcessError: the output breaks off before its end, and a part of the truth would be taken for all of it.
    """
    sections: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in output:
        before, mark, name = line.partition(_MARK)
        if before or not mark:  # a file without a final newline has the next mark on its last line
            lines.append(before)
        if mark:
            lines = sections.setdefault(name, [])
    if sections.pop(_END, None) is None:
        raise FactProcessError("the host's answer breaks off; look at its login scripts and disk space")
    return sections


def objects(lines: Iterable[str]) -> list[dict[str, Any]]:
    """The JSON objects in lines of one object each; what is no object, or was only half-written, is left out."""
    parsed = []
    for line in lines:
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            parsed.append(value)
    return parsed


def quoted(words: list[str]) -> str:
    """Words as a part of a shell command line."""
    return " ".join(shlex.quote(word) for word in words)


# Shell command, with a gap for paths, that prints mode, owner, group and SHA-256 of each file that is there.
FILES = (
    'for f in %s; do [ -f "$f" ] && echo "$(stat -c "%%a %%U %%G" "$f") $(sha256sum < "$f" | cut -d" " -f1) $f"; done'
)


def read_files(lines: list[str]) -> dict[str, dict[str, str]]:
    """The output of `FILES` by path."""
    files = {}
    for line in lines:
        fields = line.split(" ", 4)
        if len(fields) == 5:
            files[fields[4]] = dict(zip(("mode", "owner", "group", "sha256"), fields, strict=False))
    return files
