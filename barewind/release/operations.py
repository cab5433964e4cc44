"""A release on a host: put on record before its engine starts, run by its unit, confirmed when it serves."""

from __future__ import annotations

import shlex
from collections.abc import Generator, Mapping
from typing import Any

from pyinfra import host, logger, state
from pyinfra.api import FunctionCommand, Host, State, StringCommand, operation

from barewind.engines import ENGINES, start
from barewind.hosts.file import HostCopy, HostFile
from barewind.hosts.operations import ManagedFile, known, written
from barewind.hosts.shell import run
from barewind.plan.names import EngineNames
from barewind.release import history
from barewind.release.facts import EngineStart, EngineUnit, ReleaseState
from barewind.release.record import Record


@operation()
def recorded(
    record: Record,
    unit: str,
    container: str,
    by: str,
    why: str | None = None,
    rollback: bool = False,
    whole_unit: HostFile | None = None,
    secrets: HostFile | None = None,
    replica: int | None = None,
) -> Generator[StringCommand, None, None]:
    """Put a release on record before the engine runs it, so that there is always a way back to what did run.

    The record is written where it differs. That the release is started is noted unless the engine runs it already.

    + record: the release
    + unit: name of the engine's unit
    + container: name of its container
    + by: who deploys, user@controller
    + why: the reason they give
    + rollback: a person rolls back to it instead of deploying it
    + whole_unit: the file that keeps the whole unit, where the record conceals some of it; None if it is there already
    + secrets: the file that keeps the release's secrets; None if it has none, or they are there already
    + replica: the engine's number, where its host has several

    **Example:**

    .. code:: python

        recorded(name="On record", record=record_of(plan, text), unit="barewind-engine.service",
                 container="barewind-engine", by="ann@ws1", why="nightly of Tuesday")
    """
    asked = _of_engine(record.release, unit, container, replica)
    facts = known(host.get_fact(ReleaseState, **asked), host.name, "its history")
    commands = []
    if whole_unit is not None and facts["unit_sha256"] != whole_unit.sha256:  # first: a record must not lack its unit
        commands.append(written(whole_unit))
    if secrets is not None and secrets.differs({} if facts["secrets"] is None else {secrets.path: facts["secrets"]}):
        commands.append(written(secrets))
    if facts["sha256"] != record.file.sha256:
        commands.append(written(record.file))
    if facts["release"] != record.release or not facts["active"]:
        started = history.started(record.release, by=by, why=why, rollback=rollback, replica=replica)
        commands.append(StringCommand(started))
    if not commands:
        host.noop(f"release {record.release} is already on record, and runs")
    yield from commands


@operation()
def confirmed(
    release: str,
    unit: str,
    container: str,
    by: str,
    why: str | None = None,
    rollback: bool = False,
    replica: int | None = None,
) -> Generator[StringCommand, None, None]:
    """Note that a release serves from now on; nothing is noted if it was the last that did.

    + release: its id
    + unit: name of the engine's unit
    + container: name of its container
    + by: who deploys, user@controller
    + why: the reason they give
    + rollback: a person rolled back to it instead of deploying it
    + replica: the engine's number, where its host has several

    **Example:**

    .. code:: python

        confirmed(name="It serves", release="0123456789ab", unit="barewind-engine.service", container="barewind-engine",
                  by="ann@ws1")
    """
    asked = _of_engine(release, unit, container, replica)
    facts = known(host.get_fact(ReleaseState, **asked), host.name, "its history")
    if history.serves(history.of_replica(facts["events"], replica), release):
        host.noop(f"the history already says that release {release} serves")
        return
    yield StringCommand(history.serving(release, by=by, why=why, rollback=rollback, replica=replica))


@operation()
def timed(
    release: str, engine: str, unit: str, container: str, by: str, replica: int | None = None
) -> Generator[FunctionCommand, None, None]:
    """Note how long each phase of an engine's start took, by its log, and say it.

    A start that is noted already is not noted again. A log that cannot be read, or tells of no phase, is told and changes
    nothing.

    + release: id of what runs
    + engine: the engine's name
    + unit: name of its unit
    + container: name of its container
    + by: who deploys, user@controller
    + replica: the engine's number, where its host has several

    **Example:**

    .. code:: python

        timed(name="Phases of its start", release="0123456789ab", engine=plan.spec.engine, unit="barewind-engine.service",
              container="barewind-engine", by="ann@ws1")
    """
    facts = host.get_fact(EngineStart, engine=engine, unit=unit, container=container)
    log = ENGINES[engine].log
    phases = start.read(facts["lines"], facts["at"], log.phases, log.process) if facts and facts["at"] else {}
    before = history.last_start(history.of_replica(facts["events"], replica)) if phases else None
    if not phases:
        told = f"the log of {unit} does not tell how long the phases of its start took"
        if state.is_executing:
            host.log(told)
        host.noop(told)
    elif history.noted_since(before, facts["at"]):
        host.noop("the history already tells of this start")
    else:
        note = history.timed(release, phases, by=by, replica=replica)
        earlier = before.phases if before is not None else None
        yield FunctionCommand(_note_start, (), {"phases": phases, "before": earlier or {}, "note": note})


def _note_start(state: State, host: Host, phases: Mapping[str, float], before: Mapping[str, float], note: str) -> bool:
    """Say the phases of a start and note them; that they cannot be noted is told, and fails nothing."""
    host.log(f"start: {start.describe(phases)}")
    if told := start.slower(phases, before):
        logger.warning(f"{host.print_prefix}{host.name}: the start {told}")
    answer = run(state, host, note)
    if answer.problem:
        logger.warning(f"{host.print_prefix}{host.name}: the phases of its start cannot be noted: {answer.problem}")
    return True


@operation()
def deployed(
    unit: str,
    release: str,
    container: str,
    unit_file: HostFile | HostCopy,
    firewall: ManagedFile,
    drop_in: ManagedFile,
    others: list[ManagedFile],
) -> Generator[StringCommand, None, None]:
    """Have a unit run a release.

    The engine is restarted only when it does not run, or runs another release: a changed time limit of the unit is
    taken over at the next start, a changed firewall at once. systemd is told to reload only when the unit or its drop-in changed,
    before the engine is stopped: what the drop-in says of stopping holds for the engine that runs.

    + unit: name of the unit
    + release: id of the release, which the container bears as its label
    + container: name of the container
    + unit_file: the unit
    + firewall: rules for nft
    + drop_in: what holds for the unit whatever release it runs
    + others: what else the unit needs

    **Example:**

    .. code:: python

        deployed(name="Unit", unit="barewind-engine.service", release="0123456789ab", container="barewind-engine", ...)
    """
    files = [*others, firewall, drop_in, unit_file]  # a unit must not lack what it names
    paths = [file.path for file in files]
    facts = known(host.get_fact(EngineUnit, unit=unit, paths=paths, container=container), host.name, unit)
    changed = [file for file in files if file.differs(facts["files"])]
    commands = [written(file) for file in changed]
    if unit_file in changed or drop_in in changed or facts["needs_reload"]:
        commands.append(StringCommand("systemctl daemon-reload"))
    if not facts["enabled"]:
        commands.append(StringCommand(f"systemctl enable {shlex.quote(unit)}"))
    if facts["release"] != release or not facts["active"]:
        commands.append(StringCommand(f"systemctl restart {shlex.quote(unit)}"))
    elif firewall in changed:
        commands.append(StringCommand(f"nft -f {shlex.quote(firewall.path)}"))
    if not commands:
        host.noop(f"{unit} already runs release {release}")
    yield from commands


@operation()
def retired(units: list[str], leaving: list[EngineNames]) -> Generator[StringCommand, None, None]:
    """Have a host's engines end that share its accelerators otherwise than it shall, and those that leave be gone.

    + units: names of their units, all that the host has
    + leaving: the names of those engines that it shall not have any more

    **Example:**

    .. code:: python

        retired(name="Former engines", units=["barewind-engine.service"], leaving=[engine_names(None)])
    """
    yield StringCommand(f"systemctl stop {shlex.join(units)}")
    for names in leaving:
        # What kept requests from it while it stopped would keep them from whoever has its port next.
        table = f"table inet {names.stopping_table}; delete table inet {names.stopping_table}"
        files = shlex.join([names.unit_file, f"{names.unit_file}.d", names.stopping_file])
        yield StringCommand(
            f"systemctl disable {shlex.quote(names.unit)} && rm -rf {files} && nft {shlex.quote(table)}"
        )
    if leaving:
        yield StringCommand("systemctl daemon-reload")


@operation(is_idempotent=False)
def restarted(unit: str) -> Generator[StringCommand, None, None]:
    """Restart a unit, running or not; what it runs stays the same.

    + unit: name of the unit

    **Example:**

    .. code:: python

        restarted(name="Restart", unit="barewind-engine.service")
    """
    yield StringCommand(f"systemctl restart {shlex.quote(unit)}")


def _of_engine(release: str, unit: str, container: str, replica: int | None) -> dict[str, Any]:
    """What `ReleaseState` is asked about an engine."""
    number = {} if replica is None else {"replica": replica}
    return {"release": release, "unit": unit, "container": container, **number}
