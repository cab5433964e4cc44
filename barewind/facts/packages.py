"""Installed packages."""

from __future__ import annotations

from barewind.facts import quoted
from barewind.packages import Installed


def query(names: list[str]) -> str:
    """The shell command that lists packages; names may be dpkg's patterns."""
    return f"dpkg-query -W -f '${{db:Status-Abbrev}} ${{Version}} ${{Package}}\\n' {quoted(names)}"


def read(lines: list[str]) -> dict[str, Installed]:
    """`hi  580.126.09-1 nvidia-driver-cuda` -> version and whether it is held; only what is wholly installed counts."""
    found: dict[str, Installed] = {}
    for line in lines:
        fields = line.split()
        if len(fields) == 3 and len(fields[0]) == 2 and fields[0][1] == "i":
            found[fields[2]] = {"version": fields[1], "held": fields[0][0] == "h"}
    return found
