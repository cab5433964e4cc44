"""Usage: what each key asked for and got, by day. Balancers sum their own logs; here the sums of all become one. Pure."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass, fields
from datetime import date
from typing import Literal

from barewind.errors import BarewindError
from barewind.hosts.file import HostFile
from barewind.hosts.paths import PROGRAMS
from barewind.templates import from_template

By = Literal["id", "team", "day"]

PROGRAM = f"{PROGRAMS}/usage"
TIMER = "barewind-usage.timer"
NOBODY = "-"  # the id of requests without a key that is good

SUMS = "/var/lib/barewind/usage/sums"
_UNITS = "/etc/systemd/system"
_SERVICE = f"""\
# Written by Barewind.
[Unit]
Description=Usage of the endpoint's keys, summed from HAProxy's log

[Service]
Type=oneshot
ExecStart={PROGRAM} count
Nice=19
IOSchedulingClass=idle
"""
# A journal in memory alone loses what it had since the last count when the host restarts.
_TIMER = """\
# Written by Barewind.
[Timer]
OnBootSec=1min
OnUnitActiveSec=10min
AccuracySec=1min

[Install]
WantedBy=timers.target
"""


@dataclass(frozen=True)
class Sum:
    """Requests and tokens. `refused`: answered 4xx; `failed`: 5xx, or cut off; `estimated`: streamed events of answers that ended
    before they told their tokens, each of which is at least one."""

    requests: int = 0
    refused: int = 0
    failed: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    tokens_cached: int = 0
    estimated: int = 0

    def __add__(self, other: Sum) -> Sum:
        return Sum(*map(sum, zip(astuple(self), astuple(other), strict=True)))


FIGURES = tuple(field.name for field in fields(Sum))
Sums = Mapping[tuple[str, str], Sum]  # by day and id


def program(retention: int) -> HostFile:
    """The program that sums a balancer's log.

    + retention: days that sums are kept
    """
    return HostFile(PROGRAM, from_template("keys/usage.sh.j2", retention=retention, sums=SUMS), mode="755")


def units() -> list[HostFile]:
    """What runs the program every ten minutes."""
    service = TIMER.replace(".timer", ".service")
    return [HostFile(f"{_UNITS}/{service}", _SERVICE), HostFile(f"{_UNITS}/{TIMER}", _TIMER)]


def show(since: date) -> str:
    """Shell command that prints a balancer's sums from a day on; `read` reads its output."""
    return (
        f"[ -x {PROGRAM} ] || {{ echo 'has no {PROGRAM}; deploy first' >&2; exit 1; }}; {PROGRAM} show {since:%Y-%m-%d}"
    )


def read(output: str, balancer: str) -> dict[tuple[str, str], Sum]:
    """A balancer's sums by day and id, from the output of `show`.

    Raises:
        BarewindError: the output breaks off.
    """
    lines = output.splitlines()
    if not lines or lines[-1] != "@@usage:end" or "@@usage:begin" not in lines:
        raise BarewindError(f"{balancer}: its answer breaks off; look there with: {PROGRAM} count")
    sums = {}
    for line in lines[lines.index("@@usage:begin") + 1 : -1]:
        found = re.fullmatch(r"(\d{4}-\d\d-\d\d) (\S+)((?: \d+){7})", line)
        if not found:
            raise BarewindError(f"{balancer}: {SUMS}: a line is not understood, {line[:80]!r}; look at it there")
        sums[found[1], found[2]] = Sum(*map(int, found[3].split()))
    return sums


def together(balancers: Iterable[Sums], by: By | None = None) -> dict[tuple[str, ...], Sum]:
    """The sums of several balancers, by day and id, or by one of these, or by team."""
    totals: dict[tuple[str, ...], Sum] = {}
    for sums in balancers:
        for (day, id), one in sums.items():
            parts = {"id": (id,), "team": (id.partition("/")[0],), "day": (day,), None: (day, id)}[by]
            totals[parts] = totals.get(parts, Sum()) + one
    return dict(sorted(totals.items()))


def columns(by: By | None) -> tuple[str, ...]:
    """The names of what sums are by, and of the figures."""
    return ("day", "id", *FIGURES) if by is None else (by, *FIGURES)


def rows(totals: Mapping[tuple[str, ...], Sum]) -> list[tuple[str | int, ...]]:
    """A row for each sum."""
    return [(*parts, *astuple(one)) for parts, one in totals.items()]


def as_csv(totals: Mapping[tuple[str, ...], Sum], by: By | None) -> str:
    """The sums with a line of names above them (RFC 4180, but for the line ends)."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([columns(by), *rows(totals)])
    return text.getvalue()
