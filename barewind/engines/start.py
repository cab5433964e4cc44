"""The phases of an engine's start, and how its log tells how long each took.

What engines log differs by engine and stands in their files; a phase that a start does not have (eager execution captures no
graphs) has no line and is absent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypedDict

FIRST_LINE = "first_line"  # from the container's start to the first line of its log
WEIGHTS = "weights"
COMPILE = "compile"
GRAPHS = "graphs"
WARM_UP = "warm_up"
READY = "ready"  # from the container's start until the engine takes requests: all of it, what no line tells of too


@dataclass(frozen=True)
class Phase:
    """How long a phase took, by lines of the log. Patterns are regular expressions, of Python and of `grep -P`.

    + pattern: its line; where it has a group, the group is the seconds that the line tells. A process may have several such
      lines (the model's weights, the draft's), which count together; of several processes the slowest counts
    + without: phases that these seconds hold too, to be taken off
    + since: the line that the phase begins with, where `pattern` tells no seconds and is the line that ends it
    """

    name: str
    pattern: str
    without: tuple[str, ...] = ()
    since: str | None = None


class Line(TypedDict):
    """A line of the log. `at` is when it was written, in seconds since the epoch, by the host's clock."""

    at: float
    text: str


def patterns(phases: Iterable[Phase]) -> list[str]:
    """The regular expressions of all lines that tell of phases."""
    return [pattern for phase in phases for pattern in (phase.since, phase.pattern) if pattern is not None]


def read(lines: Iterable[Line], started: float, phases: Iterable[Phase], process: str) -> dict[str, float]:
    """Seconds by phase, as the log of a start tells them, in the order in which the phases come; empty if it tells none.

    + lines: those that tell of phases, and the first ones
    + started: when the container was started, in seconds since the epoch
    + process: the regular expression of what stands before the text of a line (`EngineLog.process`)
    """
    written = [line for line in lines if line["at"] >= started]
    found: dict[str, float] = {}
    for phase in phases:
        seconds = _between(phase, written, started) if _ends(phase) else _told(phase, written, process)
        if seconds is not None:
            found[phase.name] = round(max(seconds - sum(found.get(name, 0.0) for name in phase.without), 0.0), 1)
    if not found:
        return {}
    return {FIRST_LINE: round(written[0]["at"] - started, 1)} | found


def describe(phases: Mapping[str, float]) -> str:
    """Phases in a few words: "92 s: first line 3 s, weights 25 s, graphs 5 s"; the sum of them is not all of a start."""
    parts = [f"{name.replace('_', ' ')} {_seconds(value)}" for name, value in phases.items() if name != READY]
    return f"{_seconds(phases[READY])}: {', '.join(parts)}" if READY in phases else ", ".join(parts)


def slower(phases: Mapping[str, float], before: Mapping[str, float]) -> str:
    """What grew where a start took twice as long as the one before it; empty where it did not, or nobody knows."""
    if READY not in phases or READY not in before or phases[READY] < max(2 * before[READY], before[READY] + _NOTABLE):
        return ""
    growth = {name: value - before.get(name, 0.0) for name, value in phases.items() if name != READY}
    growth["what the log does not tell of"] = _untold(phases) - _untold(before)
    name = max(growth, key=lambda name: growth[name])
    if name in phases:
        grown = (
            f"{name.replace('_', ' ')} grew most, from {_seconds(before.get(name, 0.0))} to {_seconds(phases[name])}"
        )
    else:
        grown = f"{name} grew most, by {_seconds(growth[name])}"
    return f"took {_seconds(phases[READY])} to be ready, the start before it {_seconds(before[READY])}: {grown}"


_NOTABLE = 10.0  # seconds by which a start must be longer: a few tell of the host's moment, not of the engine


def _ends(phase: Phase) -> bool:
    return re.compile(phase.pattern).groups == 0


def _told(phase: Phase, lines: Iterable[Line], process: str) -> float | None:
    """The seconds that lines tell, of the slowest process."""
    by_process: dict[str, float] = {}
    for line in lines:
        for seconds in _seconds_in(phase.pattern, line["text"]):
            writer = re.match(process, line["text"])
            name = (writer.groupdict().get("process") if writer else "") or ""
            by_process[name] = by_process.get(name, 0.0) + seconds
    return max(by_process.values(), default=None)


def _seconds_in(pattern: str, text: str) -> Iterator[float]:
    for match in re.finditer(pattern, text):
        yield float(next(group for group in match.groups() if group is not None))


def _between(phase: Phase, lines: Iterable[Line], started: float) -> float | None:
    """Seconds from the first line that begins a phase, or the container's start, to the first one that ends it."""
    begin = started if phase.since is None else None
    for line in lines:
        if begin is None and phase.since is not None and re.search(phase.since, line["text"]):
            begin = line["at"]
        if begin is not None and re.search(phase.pattern, line["text"]):
            return line["at"] - begin
    return None


def _untold(phases: Mapping[str, float]) -> float:
    return phases[READY] - sum(value for name, value in phases.items() if name != READY)


def _seconds(value: float) -> str:
    return f"{value:.1f} s" if value < 10 else f"{value:.0f} s"
