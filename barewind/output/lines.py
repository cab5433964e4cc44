"""Long lines, broken between words for a terminal. Pure."""

from __future__ import annotations

import re

_STYLES = re.compile(r"\x1b\[[0-9;]*m")
_MARGIN = re.compile(rf"^(?:{_STYLES.pattern}| |--> )*")
_INDENT = 4  # columns more than the first row of a line


def wrapped(text: str, columns: int) -> str:
    """The same text in rows of at most `columns`, styles not counted; a word that is longer stays whole, to be copied."""
    return "\n".join(row for line in text.split("\n") for row in _rows(line, columns))


def _rows(line: str, columns: int) -> list[str]:
    if _width(line) <= columns:
        return [line]
    row = line[: len(line) - len(_MARGIN.sub("", line))]
    indent = " " * (_width(row) + _INDENT)
    rows = []
    for number, word in enumerate(line[len(row) :].split(" ")):
        if number and _width(row) + 1 + _width(word) > columns:
            rows.append(row)
            row = indent + word
        else:
            row += f" {word}" if number else word
    return [*rows, row]


def _width(text: str) -> int:
    return len(_STYLES.sub("", text))
