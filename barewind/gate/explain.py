"""The end of a unit's log -> why its engine does not serve, in plain words, by what the engines' files know of their logs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from barewind.engines import ENGINES, causes
from barewind.engines.log import EngineLog

SHOWN = 15  # lines of the log that people are shown


@dataclass(frozen=True)
class Reason:
    """Why an engine does not serve, what to do about it, and the line of the log that tells it."""

    why: str
    remedy: str
    line: str

    def __str__(self) -> str:
        return f"{self.why}; {self.remedy}"


_RELEASE = re.compile(r"^(?:Start|Stopp)\w+ .*\(release (\w+)\)")
_STARTING = re.compile(r"Starting ")
_ENDED = re.compile(r": Failed with result '")  # systemd's, of a unit
_COLOURS = re.compile(r"\x1b\[[\d;]*m")
# What a line begins with that says what went wrong: a Python exception, what a runtime writes as it dies, a program's own error.
_ERROR = re.compile(
    r"(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Interrupt|Exit|Failure)\b(?:$|: )|Exception: |"
    r"Fatal |fatal |terminate called|Memory access fault|Segmentation fault|\S+: error: |docker: |error: |Killed$"
)
_LEVEL = re.compile(
    r"(?:ERROR|CRITICAL|FATAL)(?::\S*:?)? +(?:\d\d-\d\d \d\d:\d\d:\d\d\S* )?(?:\[[^\]]*:\d+\] ?|[\w.]+:\d+\] ?)?"
)


def explain(log: Sequence[str], engine: str, *, killed: bool = False) -> Reason | None:
    """The reason that an engine's log tells; None where it tells no known one. `killed`: the host's memory ran out."""
    known = ENGINES[engine].log
    lines = list(_telling(log, known))
    if killed:
        lines.append("oom-kill")
    for row in known.rows:
        if row.cause == causes.CRASHED and last_error(log, engine):
            continue  # that line says more
        for line in reversed(lines):
            if row.pattern is not None and (match := re.search(row.pattern, line)):
                groups = [group or "" for group in match.groups()] + [""] * 5
                why = " ".join(row.cause.why.format(*groups).split())
                return Reason(why, row.cause.remedy.format(*groups), line.strip())
    return None


def last_error(log: Sequence[str], engine: str) -> str | None:
    """The last error of the process that failed first, where a log tells no known reason; None where it shows no error.

    Others fail after it for its sake, and those above it only report that it has failed.
    """
    known = ENGINES[engine].log
    first: str | None = None
    last: str | None = None
    for process, text in _by_process(log, known):
        if re.search(known.reports, text) or not _ERROR.match(text):
            continue
        if first is None:
            first = process
        if process == first:
            last = text.strip()
    return last


def _telling(log: Iterable[str], known: EngineLog) -> Iterator[str]:
    """The lines that are not chatter, without colours."""
    for line in log:
        plain = _COLOURS.sub("", line)
        if not any(re.search(pattern, plain) for pattern in known.chatter):
            yield plain


def _by_process(log: Iterable[str], known: EngineLog) -> Iterator[tuple[str, str]]:
    """Who wrote each telling line ("": nobody says), and its text."""
    process = ""
    for line in _telling(log, known):
        beginning = re.match(known.process, line)
        if beginning is not None and beginning.end():
            process = beginning["process"] or ""
            line = line[beginning.end() :]
        elif not known.goes_on:
            process = ""
        level = _LEVEL.match(line)
        yield process, line[level.end() :] if level else line


def of_release(log: Iterable[str], release: str) -> list[str]:
    """The part of a unit's log that is about a release: its description in systemd's own lines names it.

    A unit that was changed before it is restarted stops under its new description: only its start tells.
    """
    lines = list(log)
    others = [at for at, line in enumerate(lines) if (match := _RELEASE.search(line)) and match[1] != release]
    after = others[-1] + 1 if others else 0
    starts = (
        at for at in range(after, len(lines)) if _STARTING.match(lines[at]) and f"(release {release})" in lines[at]
    )
    return lines[next(starts, after) :]


def to_its_end(log: Sequence[str]) -> list[str]:
    """A unit's log up to its last failure: what follows is of the start after it, which has told nothing yet."""
    ends = [at for at, line in enumerate(log) if _ENDED.search(line)]
    return list(log[: ends[-1] + 1] if ends else log)
