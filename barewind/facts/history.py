"""The releases that a host has run, and what became of each."""

from __future__ import annotations

import shlex
from typing import Any

from pyinfra.api import FactBase

from barewind.facts import engine, script, split
from barewind.history import DIRECTORY, EVENTS_FILE, read_events, read_record

_LATELY = 30  # events: enough to tell how the host stands


class ReleaseState(FactBase[dict[str, Any]]):
    """How a host stands with one release.

    + path: file of the release's record
    + unit: name of the engine's unit
    + container: name of its container

    ```
    {"sha256": "<of the record's file>" | None, "events": [Event(...), ...], "active": True, "release": "0123456789ab" | None}
    ```
    `events` are the last ones, oldest first; `active` and `release` are what runs.
    """

    abstract = False

    def command(self, path: str, unit: str, container: str) -> str:
        return script(
            record=f"sha256sum < {shlex.quote(path)}",
            events=f"tail -n {_LATELY} {EVENTS_FILE}",
            state=engine.state(unit),
            release=engine.release(container),
        )

    def process(self, output: list[str]) -> dict[str, Any]:
        found = split(output)
        running = engine.read(found)
        return {
            "sha256": next((line.split()[0] for line in found.get("record", []) if line), None),
            "events": read_events(found.get("events", [])),
            "active": running["active"],
            "release": running["release"],
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
            records=f'for f in $(ls -t {DIRECTORY}/*.json); do tr -d "\\n" < "$f"; echo; done',
            events=f"cat {EVENTS_FILE}",
            state=engine.state(unit),
            release=engine.release(container),
        )

    def process(self, output: list[str]) -> dict[str, Any]:
        found = split(output)
        running = engine.read(found)
        records = [one for one in map(read_record, found.get("records", [])) if one is not None]
        return {
            "records": {one.release: one for one in records},
            "events": read_events(found.get("events", [])),
            "active": running["active"],
            "release": running["release"],
        }
