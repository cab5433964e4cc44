"""Which hosts are touched when: those that serve nobody first, then those that serve, batch by batch, out of rotation."""

from __future__ import annotations

from dataclasses import dataclass

from pyinfra import host, inventory, logger, state
from pyinfra.api import deploy
from pyinfra.api.exceptions import PyinfraError

from barewind import balancer, rollout, runtime
from barewind.errors import BarewindError
from barewind.operations.rotation import look, returned, taken_out
from barewind.rollout import Batch, HostState
from tasks import drivers
from tasks.fleet import engine_plan, fleet
from tasks.once import once
from tasks.survey import survey


@dataclass(frozen=True)
class Rollout:
    """The whole run. `quiet` hosts need nothing that what they serve would notice; `free` ones are those and the idle."""

    batches: tuple[Batch, ...]
    quiet: frozenset[str]
    free: frozenset[str]


@once
def plan() -> Rollout:
    """Work the batches out for every host, from the facts of before the run, and say them.

    Raises:
        PyinfraError: a balancer does not answer, or the change would end the service.
    """
    site = fleet().site
    try:
        states = _states()
        batches = tuple(rollout.batches(states))
    except BarewindError as error:
        raise PyinfraError(f"nothing was changed\n{error}") from error
    for line in rollout.describe(states, batches):
        logger.info(f"--> {line}")
    moved = {name for batch in batches for name in batch.hosts}
    idle = {name for batch in batches for name in batch.hosts if name not in batch.in_service}
    quiet = {name for name in site.engines if name in survey() and name not in moved}
    return Rollout(batches=batches, quiet=frozenset(quiet), free=frozenset(quiet | idle))


@deploy("Rotation")
def take_out(batch: Batch) -> None:
    """Have no balancer send requests to the hosts of a batch, and wait until they have none."""
    engine = engine_plan()
    if engine is not None and host.name in batch.drained:
        timeout = engine.spec.drain_timeout
        taken_out(
            name=f"Batch {batch.number} of {batch.of}: leave the balancers",
            server=host.name,
            balancers=_balancers(),
            timeout=timeout,
            _timeout=timeout + 300,
        )


@deploy("Rotation")
def put_back(batch: Batch) -> None:
    """Have every balancer that knows the hosts of a batch send them requests again."""
    if engine_plan() is not None and host.name in batch.hosts:
        returned(
            name=f"Batch {batch.number} of {batch.of}: return to the balancers",
            server=host.name,
            balancers=_balancers(),
            _timeout=600,
        )


def _balancers() -> list[str]:
    return sorted(fleet().site.balancers)


def _states() -> list[HostState]:
    rotations = look(state, _balancers()).values()
    found = []
    for name, spec in fleet().site.engines.items():
        known = balancer.known(rotations, name)
        serving = balancer.serving(rotations, name) and not _stopped(name)
        reasons = _reasons(name)
        if not reasons and known and not serving and name in survey():
            reasons = ["gets no requests"]  # left out by a run that ended early, or its health check fails
        found.append(
            HostState(
                host=name,
                group=_group(name),
                reasons=tuple(reasons),
                serving=serving,
                known=known,
                selected=name in survey(),
                max_unavailable=spec.max_unavailable,
                allow_downtime=spec.allow_downtime,
                busy=not serving and any(balancer.in_flight(one, name) for one in rotations),
            )
        )
    return found


def _stopped(name: str) -> bool:
    """Whether a host was seen to run no engine: a balancer may take half a minute to notice."""
    seen = survey().get(name)
    return seen is not None and seen.facts is not None and not seen.facts["engine"]["active"]


def _reasons(name: str) -> list[str]:
    """Why a host must be touched in a way that what it serves would notice."""
    seen, engine = survey().get(name), fleet().plans[name]
    if seen is None or seen.facts is None:
        return []
    found = drivers.reasons(name)
    packages = seen.facts["packages"]
    found += runtime.reasons(runtime.plan(engine.spec, seen.facts["os"]), packages)
    running = seen.facts["engine"]
    if running["release"] != engine.release or not running["active"]:
        before = running["release"] if running["active"] else "none"
        found.append(f"release {before} -> {engine.release}")
    return found


def _group(name: str) -> str:
    """The group whose capacity counts: the first that the inventory lists the host under."""
    return next(iter(inventory.get_host(name).groups), "all")
