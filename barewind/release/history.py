"""What a host has served: a list of events that is only ever added to. Shell commands that write it, and what it tells.

Commands note the host's own clock.

`/etc/barewind/releases/<release>.json` holds all that is needed to run a release again. `history.jsonl` beside it has one
event per line: these alone say which release was served when, and so which records are the oldest. Of several engines on a
host, its replicas, each event tells the number; the records are theirs in common.

A record is read by facts: it travels to the controller, is part of what `pyinfra -vvv` prints, and is what a person copies
into a ticket. So neither its `env` nor its `unit` holds the value of a variable that is named like a secret, only the SHA-256
of it. A rollback needs the unit as it was, byte for byte: where the record conceals some of it, the whole unit lies beside it
in `<release>.unit`, which root alone can read and which no fact reads. A rollback copies it on the host itself.
Secrets that the engine gets by file lie beside the record in `<release>.secrets`, for root alone as well, as long as the record
does.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypedDict, Unpack

from barewind.controller import controller
from barewind.release.record import DIRECTORY, record_path

EVENTS_FILE = f"{DIRECTORY}/history.jsonl"

# The words for what becomes of a release. They stay what they are: hosts have written them, and older code reads them.
# started: the engine is about to run it. serving: it has passed its gate. failed: it has not passed, or has served badly.
# restored: the host was rolled back to it because another release failed. measured: figures of it were taken, or the phases of
# a start of it: no word of its own, since an older Barewind would take one for how the host stands.
# packed: what its engine had compiled was packed for other hosts, before it got requests; the detail says which file.
EVENTS = ("started", "serving", "failed", "restored", "measured", "packed")
_SERVES = ("serving", "restored")
_ASIDE = ("measured", "packed")  # say nothing about how the host stands

_RECORDS = 100  # kept; as many as `keep_releases` may ask for
_LINES = 1000  # of events kept
_TEXT = 2000  # characters of a reason or a detail
_ROLLBACK = "rollback\n"  # began the reason of a rollback before events had a field for it; a deploy's is a single line


@dataclass(frozen=True)
class Event:
    """What became of a release at a time. `at` is ISO 8601, UTC, by the host's clock; `by` is user@controller.

    `rollback`: a person rolled back to it (tasks/rollback.py) instead of deploying it.
    `phases`: seconds that each phase of its start took (engines/start.py).
    """

    at: str
    release: str
    event: str
    by: str
    why: str | None = None
    detail: str | None = None
    figures: Mapping[str, float] | None = None
    rollback: bool = False
    replica: int | None = None  # which engine of several on the host
    phases: Mapping[str, float] | None = None


class Note(TypedDict, total=False):
    """What goes with an event.

    + by: user@controller; left out: this one
    + why: the reason they give
    + rollback: a person rolls back to the release instead of deploying it
    + replica: which engine of several on the host
    """

    by: str | None
    why: str | None
    rollback: bool
    replica: int | None


def started(release: str, **note: Unpack[Note]) -> str:
    """Shell command that notes that the engine is about to run a release."""
    return _append(release, "started", **note)


def serving(release: str, **note: Unpack[Note]) -> str:
    """Shell command that notes that a release serves from now on, and removes the oldest records."""
    return f"{_append(release, 'serving', **note)} && {_remove_old()}"


def rolled_back(release: str, *, detail: str | None = None, **note: Unpack[Note]) -> str:
    """Shell command that notes that the host was rolled back to a release because another failed."""
    return _append(release, "restored", detail=detail, **note)


def failed(release: str, detail: str = "", *, variable: str | None = None, **note: Unpack[Note]) -> str:
    """Shell command, fit for the inside of another, that notes a failure; it never fails itself and prints nothing.

    + detail: what is wrong, in plain words
    + variable: name of a shell variable that holds at that time what is wrong, instead of `detail`
    """
    noted = _append(release, "failed", detail=detail or None, variable=variable, **note)
    return f"{{ {noted}; }} 2>/dev/null || :"


def measured(release: str, figures: Mapping[str, float], *, by: str | None = None, replica: int | None = None) -> str:
    """Shell command that notes figures of a release, such as {"tokens_per_second": 512.0}."""
    return _append(release, "measured", by=by, figures=figures, replica=replica)


def timed(release: str, phases: Mapping[str, float], *, by: str | None = None, replica: int | None = None) -> str:
    """Shell command that notes how many seconds each phase of a release's start took, such as {"weights": 24.6}."""
    return _append(release, "measured", by=by, phases=phases, replica=replica)


def packed(release: str, detail: str, *, by: str | None = None, replica: int | None = None) -> str:
    """Shell command that notes that the compile cache of a release was packed; `detail` says which file came of it."""
    return _append(release, "packed", by=by, detail=detail, replica=replica)


def read_events(lines: Iterable[str]) -> list[Event]:
    """The events by the lines of their file, oldest first. A line that a power cut has left half-written is passed over."""
    events = []
    for line in lines:
        try:
            entry = json.loads(line)
            required = {key: str(entry[key]) for key in ("at", "release", "event", "by")}
            why, rollback = entry.get("why"), entry.get("rollback") is True
            if isinstance(why, str) and why.startswith(_ROLLBACK):
                why, rollback = why.removeprefix(_ROLLBACK) or None, True
            events.append(
                Event(
                    **required,
                    why=why,
                    detail=entry.get("detail"),
                    figures=entry.get("figures"),
                    rollback=rollback,
                    replica=entry.get("replica"),
                    phases=_phases(entry.get("phases")),
                )
            )
        except (ValueError, LookupError, TypeError, AttributeError):
            continue
    return events


def of_replica(events: Iterable[Event], replica: int | None) -> list[Event]:
    """The events of one engine of a host; None: of the only one, and not those of replicas that the host has had."""
    return [event for event in events if event.replica == replica]


def last(events: Iterable[Event]) -> Event | None:
    """The event that says how the host stands; figures and packed files say nothing about that."""
    return next((event for event in reversed(list(events)) if event.event not in _ASIDE), None)


def newest_first(events: Sequence[Event], releases: Collection[str]) -> list[str]:
    """Releases by when each served last. Behind them those that never did; at the end those that no event knows.

    `_remove_old` goes by the same order.
    """
    newest = list(reversed(events))
    order = [event.release for event in newest if event.event in _SERVES] + [event.release for event in newest]
    return [release for release in dict.fromkeys([*order, *sorted(releases)]) if release in releases]


def newest(events: Sequence[Event], releases: Collection[str], count: int) -> list[str]:
    """At least the `count` releases that served last, which must stay usable.

    Where the events tell of fewer that served, as after a power cut that has damaged their file, each release without an event
    may be one of them.
    """
    order = newest_first(events, releases)
    without_event = set(releases) - {event.release for event in events}
    enough = len(served(events).intersection(releases)) >= count
    return [
        release for number, release in enumerate(order) if number < count or (not enough and release in without_event)
    ]


def served(events: Iterable[Event]) -> set[str]:
    """The releases that have served."""
    return {event.release for event in events if event.event in _SERVES}


def serves(events: Iterable[Event], release: str) -> bool:
    """Whether the last that is known of the host is that it serves this release, with no other started since."""
    now = last(events)
    return now is not None and now.release == release and now.event in _SERVES


def previous(events: Iterable[Event], running: str | None) -> str | None:
    """The release that served last before the running one; None if the history knows no other.

    A release that was rolled back because it or its group failed does not count: nobody wants to serve that again.
    """
    order: list[str] = []
    for event in events:
        if event.event == "restored" and event.release in order:
            while order[-1] != event.release:
                order.pop()
        elif event.event in _SERVES:
            order.append(event.release)
    return next((release for release in reversed(order) if release != running), None)


def last_start(events: Iterable[Event]) -> Event | None:
    """The event that tells the phases of an engine's last start that was timed; None if none was."""
    return next((event for event in reversed(list(events)) if event.phases), None)


def noted_since(event: Event | None, at: float) -> bool:
    """Whether an event was noted at a time or later; `at` in seconds since the epoch, by the clock of the event's host."""
    try:
        return event is not None and datetime.fromisoformat(event.at).timestamp() >= int(at)
    except ValueError:
        return False


def figures(events: Iterable[Event], release: str) -> Mapping[str, float]:
    """The figures that were last measured of a release; empty if none were."""
    measurements = (
        event.figures for event in reversed(list(events)) if event.event == "measured" and event.release == release
    )
    return next(filter(None, measurements), {})


def _append(
    release: str,
    event: str,
    *,
    by: str | None = None,
    why: str | None = None,
    detail: str | None = None,
    variable: str | None = None,
    figures: Mapping[str, float] | None = None,
    phases: Mapping[str, float] | None = None,
    rollback: bool = False,
    replica: int | None = None,
) -> str:
    record_path(release)  # refuses what is no id
    fields: dict[str, Any] = {"release": release, "event": event, "by": by or controller(), "why": why and why[:_TEXT]}
    fields["figures"] = dict(figures) if figures else None
    if phases:
        fields["phases"] = dict(phases)
    if rollback:
        fields["rollback"] = True
    if replica is not None:
        fields["replica"] = replica
    head, values = '{"at": "%s"', '"$(date -u +%Y-%m-%dT%H:%M:%SZ)"'
    if variable is None:
        fields["detail"] = detail and detail[:_TEXT]
    else:
        if not re.fullmatch(r"[A-Za-z_]\w*", variable):
            raise ValueError(f"'{variable}' is no name of a shell variable")
        head += ', "detail": "%s"'
        values += f' "$({_escaped(variable)})"'
    body = shlex.quote(json.dumps(fields)[1:])
    return (
        f"( umask 077; export LC_ALL=C; mkdir -p {DIRECTORY} && f={EVENTS_FILE} && touch $f && "
        # a line that a power cut left half-written must not take the next one with it
        f'{{ [ -z "$(tail -c 1 $f)" ] || echo >> $f; }} && '
        f"printf {shlex.quote(head + ', %s' + chr(92) + 'n')} {values} {body} >> $f && "
        f'if [ "$(wc -l < $f)" -gt {_LINES} ]; then tail -n {_LINES} $f > $f.new && mv -f $f.new $f; fi )'
    )


def _phases(value: Any) -> dict[str, float] | None:
    """The phases of an event as they are read: a number each."""
    return {str(name): float(seconds) for name, seconds in value.items()} if isinstance(value, dict) else None


def _escaped(variable: str) -> str:
    """Shell command that prints a variable's text as the inside of a JSON string, without line breaks."""
    return f"printf %s \"${variable}\" | head -c {_TEXT} | tr '\\n\\t' '  ' | tr -d '\\000-\\037\\177' | sed 's/[\\\\\"]/\\\\&/g'"


def _remove_old() -> str:
    """Shell command that removes all but the newest records, in the order of `newest_first`."""
    # As `_append` writes it: quotes in a reason or a detail are escaped, so that this stands nowhere else in a line.
    releases = """sed -nE 's/.*"release": "([0-9A-Za-z_]+)", "event": "(%s)".*/\\1/p' history.jsonl | tac"""
    served, known = releases % "|".join(_SERVES), releases % "[a-z]+"
    return (
        f"( cd {DIRECTORY} && {{ {served}; {known}; for f in *.json; do echo \"${{f%.json}}\"; done; }} | awk '!seen[$0]++' | "
        f'while read -r r; do [ ! -e "$r.json" ] || echo "$r"; done | tail -n +{_RECORDS + 1} | '
        'while read -r r; do rm -f "$r.json" "$r.unit" "$r.secrets"; done )'
    )
