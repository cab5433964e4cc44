"""What a host has served is written down there: before its engine starts a release, and when the release serves."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra import host
from pyinfra.api import StringCommand, operation

from barewind import history
from barewind.facts.history import ReleaseState
from barewind.history import Record
from barewind.operations import known


@operation()
def begun(
    record: Record, unit: str, container: str, by: str, why: str | None = None
) -> Generator[StringCommand, None, None]:
    """Have a release on record before the engine runs it, so that there is always a way back to what did run.

    The record is written where it differs. That the release is started is noted unless the engine runs it already.

    + record: the release
    + unit: name of the engine's unit
    + container: name of its container
    + by: who deploys, user@controller
    + why: the reason they give

    **Example:**

    .. code:: python

        begun(name="On record", record=record(plan, text), unit="barewind-engine.service", container="barewind-engine",
              by="ann@ws1", why="nightly of Tuesday")
    """
    facts = known(
        host.get_fact(ReleaseState, path=record.path, unit=unit, container=container), host.name, "its history"
    )
    if facts["sha256"] != record.sha256:
        yield StringCommand(record.write(), _stdin=record.text)
    if facts["release"] != record.release or not facts["active"]:
        yield StringCommand(history.started(record.release, by=by, why=why))


@operation()
def serves(
    release: str, unit: str, container: str, by: str, why: str | None = None
) -> Generator[StringCommand, None, None]:
    """Note that a release serves from now on; nothing to note if it was the last that did.

    + release: its id
    + unit: name of the engine's unit
    + container: name of its container
    + by: who deploys, user@controller
    + why: the reason they give

    **Example:**

    .. code:: python

        serves(name="It serves", release="0123456789ab", unit="barewind-engine.service", container="barewind-engine",
               by="ann@ws1")
    """
    path = history.record_path(release)
    facts = known(host.get_fact(ReleaseState, path=path, unit=unit, container=container), host.name, "its history")
    if not history.serves(facts["events"], release):
        yield StringCommand(history.serving(release, by=by, why=why))
