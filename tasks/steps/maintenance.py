"""Hosts that a person drains, until a person undrains them."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from pyinfra import host, logger, state
from pyinfra.api import deploy
from pyinfra.api.exceptions import PyinfraError

from barewind import pyinfra_hooks
from barewind.balancer import maintenance
from barewind.balancer.drain import Drain, no_server_left
from barewind.balancer.operations.maintenance import maintenance_begun, maintenance_ended
from barewind.controller import controller
from barewind.errors import BarewindError
from barewind.gate.plan import Gate
from barewind.hosts.shell import run
from barewind.lease.operations import LeaseLost
from barewind.tasks.run import TimedFacts, balancers, engine_plans, engines_of_run, fleet, host_facts, once
from barewind.tasks.steps import gate, lease, rollout

_KILL = 10  # seconds


@once
def to_drain() -> tuple[str, ...]:
    """The engines of this run.

    Raises:
        PyinfraError: a balancer would have no server left, or does not answer.
    """
    names = tuple(engines_of_run())
    try:
        problem = no_server_left(balancers().look(), _drain(names))
    except BarewindError as error:
        problem = str(error)
    if problem:
        raise PyinfraError(f"nothing was changed\n{problem}. To drain some hosts only: --limit")
    new = [name for name in names if _facts(name).maintenance is None]
    pyinfra_hooks.at_end(lambda error: _undo(new) if error is not None else None)
    return names


@deploy("Rotation")
def drain(hosts: tuple[str, ...]) -> None:
    """Have no balancer send them requests until somebody undrains them; that they are in maintenance is noted first."""
    engines = engine_plans(hosts)
    if engines:
        maintenance_begun(name="Maintenance begins", by=controller(), why=fleet().site.reason)
        rollout.drain_engines("Drain", engines, _drain(hosts))


@once
def to_undrain() -> Mapping[str, Gate]:
    """The engines of this run that are in maintenance or drained on some balancer, or get no requests for another reason,
    and the gates of what they run, planned or not.

    Raises:
        PyinfraError: a balancer does not answer, or on a host no engine runs.
    """
    names = engines_of_run()
    try:
        rotations = balancers().look()
    except BarewindError as error:
        raise PyinfraError(f"nothing was changed\n{error}") from error
    in_maintenance = {name for name in names if _facts(name).maintenance is not None}
    hosts = maintenance.to_undrain(rotations, names, in_maintenance)
    if not hosts:
        logger.info("--> no host of this run is drained")
    return gate.of_now(hosts)


@deploy("Rotation")
def undrain(hosts: Collection[str]) -> None:
    """Have every balancer send them requests; that they are in maintenance is noted until they have some."""
    engines = engine_plans(hosts)
    if engines:
        rollout.undrain_engines("Undrain", engines, hosts)
        maintenance_ended(name="Maintenance ends")


def _facts(engine: str) -> TimedFacts:
    return host_facts()[fleet().site.engines[engine].host]


def _drain(hosts: tuple[str, ...]) -> Drain:
    engines = fleet().site.engines
    # A balancer asks for all of them.
    own = next(iter(fleet().site.engine_hosts.get(host.name, ())), None)
    spec = own or next(iter(engines.values()))
    return maintenance.drain_of(spec, {other: engines[other] for other in hosts})


def _undo(new: list[str]) -> None:
    """A host that was not drained goes on as before, and must not look as if it were in maintenance."""
    if state.pool is not None:
        state.pool.kill(timeout=_KILL)  # after Ctrl-C, drains go on beside us
    try:
        lease.check()
    except LeaseLost as error:
        logger.error(str(error))
        return
    stages = balancers().stages
    for name in new:
        member = state.inventory.get_host(fleet().site.engines[name].host)
        if stages.get(name) == "draining":
            balancers().undo_drain(name)
        if stages.get(name) != "drained":
            answer = run(state, member, maintenance.END)
            if answer.problem:
                logger.error(
                    f"{name}: goes on saying that it is in maintenance ({answer.problem}); once it answers: tasks/undrain.py"
                )
