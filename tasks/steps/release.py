"""The engine: a systemd unit that runs the container in the foreground."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pyinfra import host, state
from pyinfra.api import deploy
from pyinfra.api.facts import get_fact
from pyinfra.context import ctx_host

from barewind.controller import controller
from barewind.engines import ENGINES
from barewind.gate.plan import Gate
from barewind.hosts.file import HostCopy, HostFile
from barewind.hosts.operations import ManagedFile
from barewind.plan.engine import EnginePlan
from barewind.plan.names import (
    ADDED_FILES_DIR,
    ADMIN_KEY_PROGRAM,
    CHECK_PROGRAM,
    DIVIDE_PROGRAM,
    FIREWALL_FILE,
    PREPARE_PROGRAM,
    names_of,
)
from barewind.preflight.checks import renumbered
from barewind.release import unit as render
from barewind.release.facts import ReleaseHistory
from barewind.release.history import of_replica
from barewind.release.host_part import cards_change, divide_program
from barewind.release.operations import confirmed, deployed, recorded, restarted, retired, timed
from barewind.release.record import Record, record_of, secrets_file, whole_unit
from barewind.spec.site import SSH_PORT
from barewind.tasks.run import EVERY, Hosts, engine_plan, engine_plans, fleet, host_facts
from barewind.weights.commands import INTACT

_START = 180  # seconds beyond what its engine may take to stop


def one_by_one(engines: Hosts) -> Iterator[tuple[str, ...]]:
    """The engines of the host in hand that are some of these, each by itself: the next starts when the one before serves.

    A host that has none of them goes through nothing, and is met again behind the loop.
    """
    for plan in host.loop(engine_plans(engines)):
        yield (plan.name,)


@deploy("Engine")
def retire(engines: Hosts) -> None:
    """Have no engine left on hosts that shall have another number of them, or give them other accelerators.

    The former are in maintenance, preflight sees to it.
    """
    plan, known = engine_plan(engines), host_facts()[host.name].facts
    if plan is None or known is None:
        return
    if renumbered(plan.spec, known["engine_units"]) or cards_change(known["engines"], plan.spec):
        wanted = {engine.names.unit for engine in engine_plans()}
        leaving = [names_of(unit) for unit in known["engine_units"] if unit not in wanted]
        limit = plan.spec.shutdown_timeout + _START
        retired(
            name="Former engines",
            units=known["engine_units"],
            leaving=leaving,
            _timeout=limit * len(known["engine_units"]),
        )


@deploy("Engine")
def serve(engines: Hosts = EVERY) -> None:
    """Have engines run their release."""
    for plan in host.loop(engine_plans(engines)):
        unit = render.engine_unit(plan)
        run_release(plan, str(plan.release), HostFile(plan.names.unit_file, unit), unit)


@deploy("Engine")
def restart(engines: Hosts = EVERY) -> None:
    """Restart engines with what they run."""
    for plan in host.loop(engine_plans(engines)):
        restarted(name="Restart", unit=plan.names.unit, _timeout=plan.spec.shutdown_timeout + _START)


def run_release(plan: EnginePlan, release: str, unit_file: HostFile | HostCopy, unit_text: str) -> None:
    """Have an engine of the host in hand run a release by its unit file; `unit_text` may conceal values of it."""
    names = plan.names
    deployed(
        name="Unit",
        unit=names.unit,
        release=release,
        container=names.container,
        unit_file=unit_file,
        firewall=ManagedFile(
            FIREWALL_FILE,
            render.engine_firewall(
                plan.spec,
                fleet().site.balancers.values(),
                ssh_ports(host.name),
                fleet().site.monitors.values(),
            ),
        ),
        drop_in=ManagedFile(names.drop_in_file, render.stop_drop_in(unit_text, plan.spec.replica)),
        others=[
            ManagedFile(CHECK_PROGRAM, render.check_weights(INTACT), mode="755"),
            ManagedFile(PREPARE_PROGRAM, render.prepare_container(), mode="755"),
            ManagedFile(ADMIN_KEY_PROGRAM, render.admin_key_program(), mode="755"),
            *(
                ManagedFile(DIVIDE_PROGRAM, program, mode="755")
                for program in (divide_program(plan.spec),)
                if program is not None
            ),
            ManagedFile(names.stopping_file, render.stopping_rules(plan.spec)),
            *(
                ManagedFile(f"{ADDED_FILES_DIR}/{name}", content)
                for name, content in ENGINES[plan.spec.engine].added_files.items()
            ),
        ],
        _timeout=plan.spec.shutdown_timeout + _START,
    )


def ssh_ports(name: str) -> set[int]:
    """Where sshd of a host of this run answers: the port that the inventory names, and those that the host tells."""
    known, data = host_facts().get(name), state.inventory.get_host(name).data
    own = [] if known is None or known.facts is None else known.facts["ssh_ports"]
    return {int(data.get("ssh_port") or SSH_PORT), *own}


def history_of(name: str) -> dict[str, Any] | None:
    """The history of an engine of this run, as the fact ReleaseHistory has it; None if it cannot be read, which is logged."""
    plan = fleet().plans[name]
    asked, wanted = (
        state.inventory.get_host(plan.spec.host),
        {"unit": plan.names.unit, "container": plan.names.container},
    )
    with ctx_host.use(asked):
        known: dict[str, Any] | None = get_fact(state, asked, ReleaseHistory, kwargs=wanted, apply_failed_hosts=False)
    return known and known | {"events": of_replica(known["events"], plan.spec.replica)}


@deploy("History")
def record(engines: Hosts = EVERY) -> None:
    """Note what engines are about to serve."""
    for plan in host.loop(engine_plans(engines)):
        unit = render.engine_unit(plan)
        record = record_of(plan, unit)
        reason, secrets = fleet().site.reason, secrets_file(plan)
        record_release(plan, record, reason, whole_unit=whole_unit(record, unit), secrets=secrets)


@deploy("History")
def time_start(gates: Mapping[str, Gate], engines: Hosts = EVERY) -> None:
    """Note how long the phases of the starts took of engines that have passed these gates."""
    for plan in host.loop(engine_plans(engines)):
        gate = gates.get(plan.name)
        if gate is not None:
            timed(
                name="Phases of its start",
                release=gate.release,
                engine=gate.engine,
                **_of_engine(plan),
                by=controller(),
            )


@deploy("History")
def confirm(engines: Hosts = EVERY) -> None:
    """Note that engines serve their release."""
    for plan in host.loop(engine_plans(engines)):
        if plan.release is not None:
            confirm_release(plan, plan.release, fleet().site.reason)


@deploy("History")
def confirm_running(gates: Mapping[str, Gate], engines: Hosts = EVERY) -> None:
    """Note that engines serve what they have run all along: after a failure that a person has mended."""
    for plan in host.loop(engine_plans(engines)):
        if plan.name in gates:
            confirm_release(plan, gates[plan.name].release, fleet().site.reason)


def record_release(
    plan: EnginePlan,
    record: Record,
    why: str | None,
    *,
    rollback: bool = False,
    whole_unit: HostFile | None = None,
    secrets: HostFile | None = None,
) -> None:
    """Note what an engine of the host in hand is about to serve; `whole_unit` and `secrets` are kept there beside the record."""
    recorded(
        name="On record",
        record=record,
        **_of_engine(plan),
        by=controller(),
        why=why,
        rollback=rollback,
        whole_unit=whole_unit,
        secrets=secrets,
    )


def confirm_release(plan: EnginePlan, release: str, why: str | None, *, rollback: bool = False) -> None:
    """Note that an engine of the host in hand serves a release."""
    confirmed(name="It serves", release=release, **_of_engine(plan), by=controller(), why=why, rollback=rollback)


def _of_engine(plan: EnginePlan) -> dict[str, Any]:
    number = {} if plan.spec.replica is None else {"replica": plan.spec.replica}
    return {"unit": plan.names.unit, "container": plan.names.container, **number}
