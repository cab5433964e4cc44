"""Names of many hosts in a few words. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import zip_longest

APART = 20  # so many hosts have a line each; of more, those that are alike share one
_NUMBERED = re.compile(r"(.*?)(\d{1,9})(\D*)", re.DOTALL)
_ADDRESS = re.compile(r"(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}|(?:[0-9a-f]{0,4}:){2,7}[0-9a-f]{1,4})(?![\w.]*\w)")
_LISTED = 6  # so many names are written out
_RUN = 3  # so many numbers in a row become "a1 to a3"


def fold(names: Sequence[str]) -> str:
    """Every name; of many, by their numbers, those that count on become `gpu1 to gpu100`, and their number is told."""
    if len(names) <= _LISTED:
        return ", ".join(names)
    return f"{', '.join(_runs(sorted(names, key=_by_numbers)))} ({len(names)} hosts)"


def told(messages: Iterable[tuple[str, str]], *, every: bool = False) -> list[str]:
    """Lines `host: message`; of many hosts, those with the same message share a line that names them all, unless `every`.
    Messages are the same too if they differ by nothing but the host's own name or address."""
    pairs = list(messages)
    if every or len({host for host, _ in pairs}) <= APART:
        return [f"{host}: {message}" for host, message in pairs]
    same: dict[str, dict[str, None]] = {}  # hosts by message
    for host, message in pairs:
        same.setdefault(message, {})[host] = None
    alike: dict[str, list[str]] = {}  # messages that differ only by what is the host's own
    for message, hosts in same.items():
        alike.setdefault(_of_any_host(message, next(iter(hosts))), []).append(message)
    lines = []
    for general, found in alike.items():
        names = list(dict.fromkeys(host for message in found for host in same[message]))
        lines.append(f"{fold(names)}: {found[0] if len(found) == 1 else general}")
    return lines


def _of_any_host(message: str, host: str) -> str:
    """An error of a connection names the host, or its address."""
    own_name = re.compile(rf"(?<![\w.@/-]){re.escape(host)}(?![\w-]|\.\w)")
    return _ADDRESS.sub("its address", own_name.sub("the host", message))


def shorten(name: str, width: int) -> str:
    """A name in `width` columns at most: the middle gives way, since names of a fleet begin alike and end with a number."""
    if len(name) <= width:
        return name
    if width <= 2:
        return name[-width:] if width > 0 else ""
    end = (width - 1) * 2 // 3 + (width - 1) % 3 // 2
    return f"{name[: width - 2 - end]}..{name[-end:]}" if width - 2 - end > 0 else f"..{name[2 - width :]}"


def _by_numbers(name: str) -> list[tuple[str, int]]:
    parts = re.split(r"(\d+)", name)
    return [(text, int(number or 0)) for text, number in zip_longest(parts[::2], parts[1::2])]


def _runs(names: Sequence[str]) -> list[str]:
    parts: list[str] = []
    run: list[str] = []
    for name in names:
        if run and not _follows(run[-1], name):
            parts += _part(run)
            run = []
        run.append(name)
    return parts + _part(run)


def _part(run: list[str]) -> list[str]:
    return [f"{run[0]} to {run[-1]}"] if len(run) >= _RUN else run


def _follows(name: str, following: str) -> bool:
    first, second = _NUMBERED.fullmatch(name), _NUMBERED.fullmatch(following)
    if first is None or second is None or (first[1], first[3]) != (second[1], second[3]):
        return False
    padded = len(first[2]) != len(second[2]) and "0" in (first[2][0], second[2][0])
    return not padded and int(second[2]) == int(first[2]) + 1
