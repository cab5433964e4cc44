"""The releases that a host has run, and what became of each."""

from __future__ import annotations

import shlex
from typing import Any

from pyinfra.api import FactBase

from barewind.engines import ENGINES
from barewind.engines.start import patterns
from barewind.hosts.script import FILES, quoted, read_files, script, split
from barewind.plan import secrets
from barewind.release.commands import (
    read_engine,
    read_journal,
    read_seconds,
    show_journal,
    show_release,
    show_started,
    show_unit,
)
from barewind.release.history import EVENTS_FILE, newest_first, read_events
from barewind.release.record import print_records, read_record, record_path, unit_path

_LATELY = 30  # events of an engine: enough to tell how the host stands
_FIRST_LINES = 20  # of a unit's log since its container was started
_PHASE_LINES = 400  # that tell of phases: a few for each of sixteen processes
_EVENTS_OF_STARTS = 200  # events among which the last start that was timed is looked for
_SIBLINGS = 16  # times as many where several engines of a host note theirs in one file


class ReleaseState(FactBase[dict[str, Any]]):
    """How a host stands with one release.

    + release: its id
    + unit: name of the engine's unit
    + container: name of its container
    + replica: its number, where its host has several engines

    ```
    {"sha256": "<64 hex digits>" | None, "unit_sha256": "<64 hex digits>" | None, "secrets": {...} | None,
     "events": [Event(...), ...], "active": True, "release": "0123456789ab" | None}
    ```
    `sha256` is that of the record's file, `unit_sha256` that of the file which keeps a whole unit beside it; `secrets` are mode,
    owner, group and SHA-256 of the file which keeps secrets beside it; `events` are the
    last ones, oldest first; `active` and `release` are what runs.
    """

    abstract = False

    def command(self, release: str, unit: str, container: str, replica: int | None = None) -> str:
        lately = _LATELY if replica is None else _LATELY * _SIBLINGS
        return script(
            record=f"sha256sum < {shlex.quote(record_path(release))}",
            whole_unit=f"sha256sum < {shlex.quote(unit_path(release))}",
            secrets=FILES % shlex.quote(secrets.file_path(release)),
            events=f"tail -n {lately} {EVENTS_FILE}",
            state=show_unit(unit),
            release=show_release(container),
        )

    def process(self, output: list[str]) -> dict[str, Any]:
        sections = split(output)
        engine = read_engine(sections)
        return {
            "sha256": _first_word(sections.get("record", [])),
            "unit_sha256": _first_word(sections.get("whole_unit", [])),
            "secrets": next(iter(read_files(sections.get("secrets", [])).values()), None),
            "events": read_events(sections.get("events", [])),
            "active": engine["active"],
            "release": engine["release"],
        }


class ReleaseHistory(FactBase[dict[str, Any]]):
    """Every release that a host knows, and every event.

    + unit: name of the engine's unit
    + container: name of its container

    ```
    {"records": {"0123456789ab": Record(...)}, "events": [Event(...), ...], "active": True, "release": "0123456789ab" | None}
    ```
    `records` are newest first, `events` oldest first. A record that cannot be run again is left out.
    """

    abstract = False

    def command(self, unit: str, container: str) -> str:
        return script(
            records=print_records(),
            events=f"cat {EVENTS_FILE}",
            state=show_unit(unit),
            release=show_release(container),
        )

    def process(self, output: list[str]) -> dict[str, Any]:
        sections = split(output)
        engine = read_engine(sections)
        records = {record.release: record for record in map(read_record, sections.get("records", [])) if record}
        events = read_events(sections.get("events", []))
        return {
            "records": {release: records[release] for release in newest_first(events, records)},
            "events": events,
            "active": engine["active"],
            "release": engine["release"],
        }


class EngineStart(FactBase[dict[str, Any]]):
    """What the log of the engine that runs tells of its start, and what the history tells of starts before.

    + engine: its name
    + unit: name of its unit
    + container: name of its container

    ```
    {"at": 1764493043.1 | None, "lines": [{"at": 1764493050.2, "text": "..."}, ...], "events": [Event(...), ...]}
    ```
    `at` is when its container was started, None where none runs; times are seconds since the epoch. `lines` are the first ones
    and those that tell of a phase; `events` are the last ones, oldest first.
    """

    abstract = False
    fresh = True  # the log of now: an engine that has just passed its gate has just written it

    def command(self, engine: str, unit: str, container: str) -> str:
        wanted = shlex.quote("|".join(f"(?:{pattern})" for pattern in patterns(ENGINES[engine].log.phases)))
        journal = f'[ -z "$t" ] || {show_journal(unit)} --since "@${{t%.*}}"'
        return script(
            at=f'{show_started(container)} && echo "$t"',
            begin=f"{journal} | head -n {_FIRST_LINES}",
            phases=f"{journal} | grep -P {wanted} | head -n {_PHASE_LINES}",
            events=f"tail -n {_EVENTS_OF_STARTS} {EVENTS_FILE}",
        )

    def process(self, output: list[str]) -> dict[str, Any]:
        sections = split(output)
        begin = list(read_journal(sections.get("begin", [])))
        phases = [line for line in read_journal(sections.get("phases", [])) if line not in begin]
        return {
            "at": read_seconds(sections.get("at", [])),
            "lines": begin + phases,
            "events": read_events(sections.get("events", [])),
        }


class EngineUnit(FactBase[dict[str, Any]]):
    """A systemd unit, the files it is made of, and the container it runs.

    + unit: name of the unit
    + paths: files it is made of
    + container: name of its container

    ```
    {"files": {"/etc/systemd/system/x.service": {"mode": "644", "owner": "root", "group": "root", "sha256": ...}},
     "active": True, "enabled": True, "needs_reload": False, "release": "0123456789ab" | None}
    ```
    """

    abstract = False

    def command(self, unit: str, paths: list[str], container: str) -> str:
        return script(files=FILES % quoted(paths), state=show_unit(unit), release=show_release(container))

    def process(self, output: list[str]) -> dict[str, Any]:
        sections = split(output)
        return {"files": read_files(sections.get("files", [])), **read_engine(sections)}


def _first_word(lines: list[str]) -> str | None:
    return next((line.split()[0] for line in lines if line), None)
