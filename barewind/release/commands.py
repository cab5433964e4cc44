"""Shell commands that print what a host runs at this moment, and what they print read back. For scripts of several slices."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from barewind.engines.start import Line
from barewind.plan.names import RELEASE_LABEL


def show_unit(unit: str) -> str:
    """Shell command that prints a unit's state, for the section `state` of a script."""
    return f"systemctl show -p ActiveState -p NeedDaemonReload -p UnitFileState {shlex.quote(unit)}"


def show_release(container: str) -> str:
    """Shell command that prints the release that a container bears as its label, for the section `release` of a script."""
    return f"docker inspect -f '{{{{index .Config.Labels \"{RELEASE_LABEL}\"}}}}' {shlex.quote(container)}"


def show_started(container: str) -> str:
    """Shell command that sets `t` to when a container was started, in seconds since the epoch; it fails where none runs."""
    asked = f"docker inspect -f '{{{{if .State.Running}}}}{{{{.State.StartedAt}}}}{{{{end}}}}' {shlex.quote(container)}"
    return f't=$({asked}) && [ -n "$t" ] && t=$(date -u -d "$t" +%s.%N)'


def read_seconds(lines: Sequence[str]) -> float | None:
    """The seconds that a command prints; None where it prints none."""
    try:
        return float(lines[0])
    except (IndexError, ValueError):
        return None


def show_journal(unit: str) -> str:
    """Shell command that prints what a unit has written since it was started last, for `read_journal`."""
    invocation = f'"_SYSTEMD_INVOCATION_ID=$(systemctl show -P InvocationID {shlex.quote(unit)})"'
    return f"journalctl {invocation} --no-pager -o short-unix"


_JOURNAL = re.compile(r"(\d+\.\d+) \S+ [^:]*?(?:\[\d+\])?: (.*)")


def read_journal(lines: Iterable[str]) -> Iterator[Line]:
    """Lines of a journal, as `show_journal` prints them."""
    for line in lines:
        if match := _JOURNAL.match(line):
            yield Line(at=float(match[1]), text=match[2])


def read_engine(sections: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """How an engine's unit stands and which release its container bears, by the sections `state` and `release`.

    {"active": True, "enabled": True, "needs_reload": False, "release": "0123456789ab" | None}; None where no container runs.
    """
    properties = dict(line.split("=", 1) for line in sections.get("state", []) if "=" in line)
    label = next(iter(sections.get("release", [])), "")
    return {
        "active": properties.get("ActiveState") in ("active", "activating", "reloading"),
        "enabled": properties.get("UnitFileState") == "enabled",
        "needs_reload": properties.get("NeedDaemonReload") == "yes",
        "release": label or None,
    }
