"""Which hosts go back to which release, and how each step goes by the record instead of the plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gevent.pool import Pool
from pyinfra import host, logger, state
from pyinfra.api import Host, deploy
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.facts import get_fact
from pyinfra.context import ctx_host

from barewind import gates, going_back, history, render
from barewind.errors import BarewindError
from barewind.facts.history import ReleaseHistory
from barewind.gates import Gate
from barewind.going_back import Ran
from barewind.history import Record
from barewind.operations.gate import passed
from barewind.operations.image import pulled
from barewind.operations.shell import run
from barewind.plan import CONTAINER
from barewind.rollout import Batch
from tasks import engine, rollout
from tasks.fleet import Hosts, engine_plan, fleet
from tasks.history import begin_record, serve_release
from tasks.once import once
from tasks.survey import survey

_PULL = 2 * 3600  # seconds; images are 10 to 20 GB
_LOOKS = 1800  # seconds beyond the time limit: the last looks of a gate may take theirs


@dataclass(frozen=True)
class Rollback:
    """The whole run: its batches, the record that each host goes back to, and the gate of every host, also if it only returns."""

    batches: tuple[Batch, ...]
    records: Mapping[str, Record]
    gates: Mapping[str, Gate]


@once
def plan() -> Rollback:
    """Work out who goes back to what, from the histories of the hosts of this run, and say it.

    Raises:
        PyinfraError: there is no way back for a host, or as for a deploy.
    """
    try:
        ran = {one.host: one for one in _ran()}
        targets = going_back.targets(list(ran.values()), fleet().site.release)
        records = _records(ran, targets.releases)
    except BarewindError as error:
        raise PyinfraError(f"nothing was changed\n{error}") from error
    for note in targets.notes:
        logger.info(f"--> {note}")

    def reasons(name: str) -> list[str]:
        if name not in records:
            return []
        return [f"release {rollout.running(name) or 'none'} -> {records[name].release} (rollback)"]

    def release(name: str) -> str | None:
        return records[name].release if name in records else rollout.running(name)

    batches = rollout.plan_for(reasons, release, watched=False).batches
    if any(records[name].release != fleet().plans[name].release for name in records):
        logger.warning("--> group data and lock still say otherwise: the next deploy goes forward again")
    return Rollback(batches, records, {name: _gate(one, records.get(name)) for name, one in ran.items()})


@deploy("Image")
def pull() -> None:
    """Have the image of its record on every host that goes back."""
    record = plan().records.get(host.name)
    if record is not None:
        pulled(name="By digest", reference=record.image, timeout=_PULL, _timeout=_PULL)


@deploy("History")
def begin(hosts: Hosts) -> None:
    """Note what hosts are about to serve."""
    record = _record(hosts)
    if record is not None:
        begin_record(record, going_back.why(fleet().site.reason))


@deploy("Engine")
def serve(hosts: Hosts) -> None:
    """Have hosts run the unit of their record."""
    wanted, record = engine_plan(hosts), _record(hosts)
    if wanted is not None and record is not None:
        engine.run_release(wanted, record.release, record.unit)


@deploy("Gate")
def gate(hosts: Hosts) -> None:
    """Hosts pass the gate of their record; those that only return, that of what they run."""
    wanted = engine_plan(hosts)
    if wanted is None:
        return
    one, why = plan().gates[host.name], going_back.why(fleet().site.reason)
    limit = wanted.spec.startup_timeout + _LOOKS
    passed(name="Engine answers", gate=one, by=history.controller(), why=why, _timeout=limit)
    serve_release(one.release, why)  # one that only returns: the run that began it ended before it noted this


def _gate(one: Ran, record: Record | None) -> Gate:
    """The gate of what a host goes back to; without, of what it runs or was about to, planned or not."""
    wanted = fleet().plans[one.host]
    if record is not None:
        return gates.of_record(record, wanted, render.UNIT)
    return gates.of_running(one.current or str(wanted.release), one.records, wanted, render.UNIT)


def _record(hosts: Hosts) -> Record | None:
    return plan().records.get(host.name) if host.name in hosts else None


def _ran() -> list[Ran]:
    """What the engine hosts of this run have served.

    Raises:
        BarewindError: a host does not tell.
    """
    names = [name for name in fleet().site.engines if name in survey()]
    hosts = [state.inventory.get_host(name) for name in names]
    found = dict(zip(names, Pool(state.config.PARALLEL).map(_history, hosts), strict=True))
    silent = [name for name in names if found[name] is None or survey()[name].facts is None]
    if silent:
        raise BarewindError(
            f"{', '.join(silent)}: its history cannot be read; see the error above, or leave it out (--limit)"
        )
    return [
        Ran(name, str(fleet().plans[name].release), rollout.running(name), known["events"], known["records"])
        for name, known in found.items()
        if known is not None
    ]


def _history(one: Host) -> dict[str, Any] | None:
    wanted = {"unit": render.UNIT, "container": CONTAINER}
    with ctx_host.use(one):
        found: dict[str, Any] | None = get_fact(state, one, ReleaseHistory, kwargs=wanted, apply_failed_hosts=False)
    return found


def _records(ran: Mapping[str, Ran], releases: Mapping[str, str]) -> dict[str, Record]:
    """The records to go back to.

    Raises:
        BarewindError: a host lacks one, or weights that it needs.
    """
    problems = []
    for name, release in releases.items():
        problem = going_back.refused(name, ran[name].records, release, port=fleet().plans[name].spec.engine_port)
        problems += [problem] if problem else _lacking(name, ran[name].records[release])
    if problems:
        raise BarewindError("\n".join(problems))
    return {name: ran[name].records[release] for name, release in releases.items()}


def _lacking(name: str, record: Record) -> list[str]:
    answer = run(state, state.inventory.get_host(name), going_back.lacking(record))
    if answer.problem:
        return [f"{name}: its weights cannot be looked at ({answer.problem})"]
    return [
        f"{name}: release {record.release} needs {directory}, which is not there any more; lock its revision again and deploy"
        for directory in answer.output.split()
    ]
