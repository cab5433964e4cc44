"""What is asked of a host to see whether the way to it is open, and how its answer is read. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from barewind.hosts.script import FactProcessError, script, split

LOOK = script(
    user="id -u",
    clock="date +%s.%N",
    python="python3 -c 'import sys; print(*sys.version_info[:2])'",
)


@dataclass(frozen=True)
class HostAnswer:
    """What a host has said; `problem` says why it has said nothing.

    `skew` is how many seconds its clock is ahead of this machine's, `python` the version of its python3; None: not known.
    """

    problem: str = ""
    user: str = ""
    skew: float | None = None
    python: tuple[int, ...] | None = None


def read(output: str, problem: str, now: float) -> HostAnswer:
    """The answer of a host, read at `now`, in seconds since the epoch."""
    if problem:
        return HostAnswer(problem)
    try:
        sections = split(output.splitlines())
    except FactProcessError as error:
        return HostAnswer(str(error))

    def first(name: str) -> str:
        return next(iter(sections.get(name, [])), "").strip()

    python = re.fullmatch(r"(\d+) (\d+)", first("python"))
    clock = re.fullmatch(r"\d+\.\d+", first("clock"))
    return HostAnswer(
        user=first("user"),
        skew=float(clock[0]) - now if clock else None,
        python=tuple(int(part) for part in python.groups()) if python else None,
    )
