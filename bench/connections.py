"""How many TCP connections hosts in network namespaces hold with each other, read from the kernel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from bench.namespaces import address

_HUB = 0  # number of the host that is no peer
_HELD = {"01", "02", "08"}  # established, being opened from here, not closed yet at this end
# Columns. A connection without an inode waits in the kernel until the program accepts or refuses it.
_STATE, _OTHER, _INODE = 3, 2, 9


class Watch:
    """The most connections of each host in any look so far; `pids` are those of a process in each one's namespace."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = pids
        self.most: dict[str, int] = dict.fromkeys(pids, 0)
        self.threads: dict[str, int] = dict.fromkeys(pids, 0)  # the most of that process
        self.looks: Counter[str] = Counter()

    def look(self) -> None:
        """Count once. Hosts whose process has ended, or has not begun yet, are left out."""
        for name, pid in self._pids.items():
            try:
                if _namespace(pid) == _namespace("self"):
                    continue  # what starts the process has not moved to its host yet
                lines = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
                threads = len(list(Path(f"/proc/{pid}/task").iterdir()))
            except OSError:
                continue
            held = [
                each
                for each in map(str.split, lines)
                if each[_STATE] in _HELD and each[_INODE] != "0" and not each[_OTHER].startswith(_hub())
            ]
            self.most[name] = max(self.most[name], len(held))
            self.threads[name] = max(self.threads[name], threads)
            self.looks[name] += 1


def _namespace(pid: int | str) -> Path:
    return Path(f"/proc/{pid}/ns/net").readlink()


def _hub() -> str:
    """The hub's address as the kernel prints it."""
    return "".join(f"{int(number):02X}" for number in reversed(address(_HUB).split("."))) + ":"
