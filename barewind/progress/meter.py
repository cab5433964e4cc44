"""How far a transfer is: percent, rate and time left."""

from __future__ import annotations

from collections import deque

_WINDOW = 60.0  # seconds over which the rate is averaged


class Meter:
    """Counts the bytes of one transfer of `total` bytes, and tells its rate."""

    def __init__(self, total: int, now: float, *, done: int = 0) -> None:
        self.total = total
        self.done = done
        self._points = deque([(now, done)])

    def advance(self, amount: int, now: float) -> None:
        """Count `amount` bytes more at the time `now` in seconds; negative when a part must be transferred again."""
        self.done += amount
        self._points.append((now, self.done))
        while len(self._points) > 2 and now - self._points[0][0] > _WINDOW:
            self._points.popleft()

    @property
    def rate(self) -> float:
        """Bytes per second, averaged over the last minute."""
        (begun, first), (now, last) = self._points[0], self._points[-1]
        return max(0.0, (last - first) / (now - begun)) if now > begun else 0.0

    def __str__(self) -> str:
        percent = 100 * self.done // self.total if self.total else 100
        text = f"{percent} % of {size(self.total)}"
        if self.rate and self.done < self.total:
            text += f", {size(self.rate)}/s, {duration((self.total - self.done) / self.rate)} left"
        return text


def size(amount: float) -> str:
    """An amount of bytes as a person would write it."""
    for unit, bound in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if amount >= bound:
            return f"{amount / bound:.1f} {unit}"
    return f"{amount:.0f} B"


def duration(seconds: float) -> str:
    """Seconds as a person would write them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
