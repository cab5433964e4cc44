"""Weights read into a host's page cache while its engine still serves: how much of them, and the shell commands for it. Pure.

A start reads all weights from the host's disk; what is in the page cache by then it reads from memory, and the host is back
sooner. The engine that serves has its weights on the accelerators and does not notice: the files are read when the disk has
nothing else to do, into memory that nobody uses.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from barewind.hosts.script import quoted
from barewind.progress.meter import size

LIMIT = 600  # seconds: 134 GB at 230 MB/s; what has not been read by then the engine reads
_SPARE = 0.1  # of the host's memory that stays available, for the engine that starts and for what else runs
_STREAMS = 4  # files read at a time: one alone does not keep an NVMe disk busy
_IN_MEMORY = ("tmpfs", "ramfs")


@dataclass(frozen=True)
class Pages:
    """How much of the weights is in the page cache, in bytes.

    + files: what they take in all
    + resident: what of them is in the page cache; None where the host cannot tell (it has no fincore)
    + available, memory: what new programs could take of the host's memory (MemAvailable), and all of it
    + system: the kind of file system that the weights are on
    """

    files: int
    resident: int | None
    available: int
    memory: int
    system: str = ""

    @property
    def room(self) -> int:
        """What of the weights fits into memory that nobody needs; what is there already counts as available."""
        return max(int(self.available - _SPARE * self.memory), 0)

    @property
    def needless(self) -> str:
        """Why reading ahead would bring nothing; empty where it brings something."""
        if not self.files:
            return "no weights are there to be read ahead"
        if self.system in _IN_MEMORY:
            return f"the weights are on {self.system}, which is memory: nothing is read ahead"
        if self.resident is not None and self.resident >= self.files:
            return "the weights are in the page cache already"
        if self.room <= (self.resident or 0):
            return (
                f"too little memory to read weights ahead: {size(self.available)} of {size(self.memory)} are available, "
                f"{size(_SPARE * self.memory)} of which stay free"
            )
        return ""


def look(directories: Sequence[str]) -> dict[str, str]:
    """The sections of a script that tells of `Pages`, for `read`."""
    return {
        "files": f"{_find(directories)} | xargs -r -0 stat -Lc %s",
        "resident": f"command -v fincore && {_find(directories)} | xargs -r -0 fincore -bno RES",
        "memory": "sed -nE 's/^(MemTotal|MemAvailable): *([0-9]+) kB/\\1 \\2/p' /proc/meminfo",
        "system": f"stat -fLc %T {quoted(list(directories[:1]))}",
    }


def read(sections: dict[str, list[str]]) -> Pages:
    """The page cache of a host, by what the sections of `look` print."""
    memory = dict(line.split(" ", 1) for line in sections.get("memory", []) if " " in line)
    command, *resident = sections.get("resident") or [""]
    return Pages(
        files=_sum(sections.get("files", [])),
        resident=_sum(resident) if command else None,
        available=_sum([memory.get("MemAvailable", "0")]) * 1024,
        memory=_sum([memory.get("MemTotal", "0")]) * 1024,
        system=next(iter(sections.get("system", [])), ""),
    )


def command(directories: Sequence[str], room: int) -> str:
    """Shell command that reads the files, in the order in which engines do, as far as they fit into `room`, in bytes.

    It is a unit of its own: when the connection breaks it still ends in time, and who looks at the host sees what reads.
    """
    files = (
        f"{_find(directories)} | sort -z | "
        'while IFS= read -r -d "" f; do s=$(stat -Lc %s "$f"); t=$((t + s)); '
        f'[ "$t" -le {room} ] || break; printf "%s\\0" "$f"; done'
    )
    script = f"{files} | timeout {LIMIT} xargs -r -0 -n 1 -P {_STREAMS} cat > /dev/null; true"
    properties = ["IOSchedulingClass=idle", "CPUSchedulingPolicy=idle", "Nice=19", f"RuntimeMaxSec={LIMIT + 30}"]
    options = " ".join(f"-p {word}" for word in properties)
    return (
        f"systemd-run --quiet --wait --pipe --collect --unit=barewind-read-ahead {options} "
        f"bash -c {shlex.quote(script)}"
    )


def _find(directories: Sequence[str]) -> str:
    return f"find -L {quoted(list(directories))} -type f -name '*.safetensors' -print0"


def _sum(lines: Sequence[str]) -> int:
    return sum(int(word) for line in lines for word in line.split()[:1] if word.isdigit())
