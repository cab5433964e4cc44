"""Which hosts are rolled back to which release, and how each step goes by the record instead of the plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pyinfra import host, logger, state
from pyinfra.api import deploy
from pyinfra.api.exceptions import PyinfraError
from pyinfra.context import ctx_state

from barewind.controller import controller
from barewind.errors import BarewindError
from barewind.gate.operations.gate import passed
from barewind.gate.plan import Gate
from barewind.hosts.ask import ask
from barewind.images.operations import pulled
from barewind.plan.engine import EnginePlan
from barewind.registry.reference import login_of, parse
from barewind.release.record import Record
from barewind.rollout import rollback
from barewind.rollout.batches import Batch
from barewind.rollout.operations.rollback import usable_records
from barewind.rollout.rollback import HostHistory
from barewind.rollout.states import release_change
from barewind.tasks.run import Hosts, engine_plans, engines_of_run, facts_of, fleet, once, running
from barewind.tasks.steps import batches, release

_PULL = 2 * 3600  # seconds; images are 10 to 20 GB
_LOOKS = 1800  # seconds beyond the time limit: the last looks of a gate may take theirs


@dataclass(frozen=True)
class Plan:
    """The whole run: its batches, the record that each host is rolled back to, and the gate of every host, also of one that is
    only undrained."""

    batches: tuple[Batch, ...]
    records: Mapping[str, Record]
    gates: Mapping[str, Gate]

    @property
    def weights(self) -> dict[str, tuple[str, ...]]:
        """The directories of weights of each engine that is rolled back, by its name."""
        return {name: record.weights for name, record in self.records.items()}


@once
def plan() -> Plan:
    """Work out which host is rolled back to what, from the histories of the hosts of this run, and say it.

    Raises:
        PyinfraError: a host cannot be rolled back, or as for a deploy.
    """
    plans = fleet().plans
    try:
        histories = _histories()
        planned = rollback.plan(list(histories.values()), fleet().site.release)
        records = usable_records(ctx_state.get(), histories, planned.releases, plans)
    except BarewindError as error:
        raise PyinfraError(f"nothing was changed\n{error}") from error
    for message in planned.messages:
        logger.info(f"--> {message}")

    def reasons(name: str) -> list[str]:
        changes = release_change(running(name), records[name].release) if name in records else []
        return [f"{change} (rollback)" for change in changes]

    def release_after(name: str) -> str | None:
        return records[name].release if name in records else running(name)

    touched = batches.plan(reasons, release_after, canaries=False).batches
    if any(record.release != plans[name].release for name, record in records.items()):
        logger.warning("--> group data and lock still say otherwise: the next deploy goes forward again")
    gates = {name: rollback.gate(known, records.get(name), plans[name]) for name, known in histories.items()}
    return Plan(touched, records, gates)


@deploy("Image")
def pull() -> None:
    """Have the image of its record on every host that is rolled back."""
    records = {
        record.image: (record, engine) for engine in engine_plans() if (record := plan().records.get(engine.name))
    }
    for record, engine in host.loop(records.values()):
        login = login_of(parse(record.image).registry, engine.spec.registry_logins)
        pulled(name="By digest", image=record.image, login=login, timeout=_PULL, _timeout=_PULL)


@deploy("History")
def record(hosts: Hosts) -> None:
    """Note what hosts are about to serve."""
    for engine, record in host.loop(_records(hosts)):
        release.record_release(engine, record, fleet().site.reason, rollback=True)


@deploy("Engine")
def serve(hosts: Hosts) -> None:
    """Have hosts run the unit of their record."""
    for engine, record in host.loop(_records(hosts)):
        release.run_release(engine, record.release, record.unit_file(engine.names.unit_file), record.unit)


@deploy("Gate")
def gate(hosts: Hosts) -> None:
    """Hosts pass the gate of their record; those that are only undrained, that of what they run."""
    for engine in host.loop(engine_plans(hosts)):
        limit = engine.spec.startup_timeout + _LOOKS
        known, why = plan().gates[engine.name], fleet().site.reason
        passed(name="Engine answers", gate=known, by=controller(), why=why, rollback=True, _timeout=limit)


@deploy("History")
def confirm(hosts: Hosts) -> None:
    """Note that hosts serve; of one that is only undrained too: the run that began it ended before it noted this."""
    for engine in host.loop(engine_plans(hosts)):
        release.confirm_release(engine, plan().gates[engine.name].release, fleet().site.reason, rollback=True)


def _records(engines: Hosts) -> list[tuple[EnginePlan, Record]]:
    """The engines of the host in hand that are rolled back, each with its record."""
    return [(engine, record) for engine in engine_plans(engines) if (record := plan().records.get(engine.name))]


def _histories() -> dict[str, HostHistory]:
    """What the engine hosts of this run have served, by name.

    Raises:
        BarewindError: a host does not tell.
    """
    names = engines_of_run()
    known = ask(names, release.history_of, at_a_time=state.config.PARALLEL).answers
    silent = [name for name in names if known[name] is None or _unknown(name)]
    if silent:
        raise BarewindError(
            f"{', '.join(silent)}: its history cannot be read; see the error above, or leave it out (--limit)"
        )
    return {
        name: HostHistory(name, str(fleet().plans[name].release), running(name), history["events"], history["records"])
        for name, history in known.items()
        if history is not None
    }


def _unknown(name: str) -> bool:
    known = facts_of(name)
    return known is None or known.facts is None
