"""Options of a subcommand, in Docker's forms: `--name=value`, `--name value`, `-n value`, `-qf value`, `--switch`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from lab.light.errors import DockerError, not_known

Kind = Literal["switch", "value", "list"]
Values = dict[str, list[str]]


def parse(words: Sequence[str], known: Mapping[str, Kind], short: Mapping[str, str]) -> tuple[Values, list[str]]:
    """Options by name, each with its values, and the words from the first that is no option.

    DockerError for an option that is not in `known`; `short`: letter -> name.
    """
    values: Values = {}
    rest = list(words)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        word = rest.pop(0)
        if word == "--":
            break
        for name, value in _split(word, known, short):
            kind = known[name]
            if kind == "switch":
                if value not in (None, "true"):
                    raise not_known(f"--{name}={value}")
                value = ""
            elif value is None:
                if not rest:
                    raise DockerError(f"docker: flag needs an argument: --{name}", 125)
                value = rest.pop(0)
            if kind == "value":
                values[name] = []
            values.setdefault(name, []).append(str(value))
    return values, rest


def _split(word: str, known: Mapping[str, Kind], short: Mapping[str, str]) -> list[tuple[str, str | None]]:
    """Names and values in one word; None where the value is the next word, or there is none."""
    if word.startswith("--"):
        name, equals, value = word[2:].partition("=")
        if name not in known:
            raise not_known(f"the option --{name}")
        return [(name, value if equals else None)]
    pairs: list[tuple[str, str | None]] = []
    letters = word[1:]
    while letters:
        letter, letters = letters[0], letters[1:]
        if letter not in short:
            raise not_known(f"the option -{letter}")
        name = short[letter]
        if known[name] == "switch":
            pairs.append((name, None))
        else:
            pairs.append((name, letters.removeprefix("=") or None))
            break
    return pairs
