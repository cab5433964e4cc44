"""How far a long transfer is: percent, rate, time left. Pure; sizes in bytes, times in seconds of any clock."""

from __future__ import annotations

from collections import deque

_WINDOW = 60.0  # seconds that a rate is an average over


class Meter:
    """How far one transfer of `total` bytes is."""

    def __init__(self, total: int, now: float, *, done: int = 0) -> None:
        self.total = total
        self.done = done
        self._seen = deque([(now, done)])

    def advance(self, amount: int, now: float) -> None:
        """So many bytes more; fewer than none when a part is to be done again."""
        self.done += amount
        self._seen.append((now, self.done))
        while len(self._seen) > 2 and now - self._seen[0][0] > _WINDOW:
            self._seen.popleft()

    @property
    def rate(self) -> float:
        """Bytes per second of late."""
        (begun, first), (now, last) = self._seen[0], self._seen[-1]
        return max(0.0, (last - first) / (now - begun)) if now > begun else 0.0

    def __str__(self) -> str:
        percent = 100 * self.done // self.total if self.total else 100
        said = f"{percent} % of {size(self.total)}"
        if self.rate and self.done < self.total:
            said += f", {size(self.rate)}/s, {duration((self.total - self.done) / self.rate)} left"
        return said


def size(amount: float) -> str:
    """Bytes in the unit a person would use."""
    for unit, bound in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if amount >= bound:
            return f"{amount / bound:.1f} {unit}"
    return f"{amount:.0f} B"


def duration(seconds: float) -> str:
    """A time that is left, in the unit a person would use."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
