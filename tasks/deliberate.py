"""Hosts that are drained on purpose, and returned."""

from __future__ import annotations

from collections.abc import Mapping

from pyinfra import host, logger, state
from pyinfra.api import deploy
from pyinfra.api.exceptions import PyinfraError

from barewind import balancer, draining, history, pyinfra_hooks
from barewind import deliberate as marks
from barewind.draining import Drain
from barewind.errors import BarewindError
from barewind.gates import Gate
from barewind.operations.deliberate import marked, unmarked
from barewind.operations.fleet_lock import LockLost
from barewind.operations.rotation import look, moved, stay
from barewind.operations.shell import run
from tasks import fleet_lock, gate, rollout
from tasks.fleet import Hosts, engine_plan, fleet
from tasks.once import once
from tasks.survey import survey


@once
def to_drain() -> tuple[str, ...]:
    """The engine hosts of this run.

    Raises:
        PyinfraError: a balancer would have nobody left, or does not answer.
    """
    names = tuple(name for name in fleet().site.engines if name in survey())
    try:
        problem = draining.emptying(look(state, rollout.balancers()), _how(names))
    except BarewindError as error:
        problem = str(error)
    if problem:
        raise PyinfraError(f"nothing was changed\n{problem}. To drain some hosts only: --limit")
    new = [name for name in names if rollout.mark(name) is None]
    pyinfra_hooks.at_end(lambda error: _undo(new) if error is not None else None)
    return names


@deploy("Rotation")
def drain(hosts: tuple[str, ...]) -> None:
    """Have no balancer send them requests until somebody returns them; the mark comes first."""
    if engine_plan(hosts) is not None:
        marked(name="Mark as drained on purpose", by=history.controller(), why=fleet().site.reason)
        rollout.leave("Leave the balancers", _how(hosts))


@once
def to_return() -> Mapping[str, Gate]:
    """The engine hosts of this run that are drained on purpose or on some balancer, or get no requests for another
    reason, and the gates of what they run, planned or not.

    Raises:
        PyinfraError: a balancer does not answer, or on one of them no engine runs.
    """
    try:
        rotations = look(state, rollout.balancers()).values()
    except BarewindError as error:
        raise PyinfraError(f"nothing was changed\n{error}") from error
    names = [
        name
        for name in fleet().site.engines
        if name in survey()
        and (
            rollout.mark(name) is not None
            or balancer.kept_out(rotations, name)
            or (balancer.known(rotations, name) and not balancer.available(rotations, name))
        )
    ]
    if not names:
        logger.info("--> no host of this run is drained")
    return gate.of_now(names)


@deploy("Rotation")
def undrain(hosts: Hosts) -> None:
    """Have every balancer send them requests; the mark goes last."""
    if engine_plan(hosts) is not None:
        rollout.back("Return to the balancers")
        unmarked(name="No longer drained on purpose")


def _how(hosts: tuple[str, ...]) -> Drain:
    engines = fleet().site.engines
    spec = engines[host.name] if host.name in engines else next(iter(engines.values()))
    allowed = bool(hosts) and all(engines[name].allow_downtime for name in hosts)
    return Drain(spec.drain_timeout, spec.drain_policy, hosts, allowed, spec.shutdown_timeout)


def _undo(new: list[str]) -> None:
    """A host that did not leave goes on as before, and must not look as if it had left."""
    if state.pool is not None:
        state.pool.kill(timeout=10)  # after Ctrl-C, drains go on beside us
    try:
        fleet_lock.check()
    except LockLost as error:
        logger.error(str(error))
        return
    for name in new:
        one = state.inventory.get_host(name)
        if moved.get(one) == "leaving":
            stay(state, one, name, rollout.balancers())
        if moved.get(one) != "out":
            answer = run(state, one, marks.ABSENT)
            if answer.problem:
                logger.error(
                    f"{name}: its mark as drained on purpose stays ({answer.problem}); once it answers: tasks/undrain.py"
                )
