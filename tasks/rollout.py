"""Which hosts are touched when: those that serve nobody first, then those that serve, batch by batch, out of rotation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from pyinfra import host, inventory, logger, state
from pyinfra.api import deploy
from pyinfra.api.exceptions import PyinfraError

from barewind import balancer, draining, gates, render, rollout, runtime
from barewind.balancer import Admin, Rotation
from barewind.deliberate import Mark
from barewind.draining import Drain
from barewind.errors import BarewindError
from barewind.operations.barrier import barrier
from barewind.operations.canary import baked
from barewind.operations.rotation import look, returned, taken_out
from barewind.rollout import LEFT_OUT, Batch, HostState
from barewind.spec import EngineSpec
from tasks import aftermath, drivers
from tasks.fleet import Hosts, engine_plan, fleet
from tasks.once import once
from tasks.survey import survey

Reasons = Callable[[str], list[str]]  # of a host's name: why it must leave service


@dataclass(frozen=True)
class Rollout:
    """The whole run. `quiet` hosts need nothing that what they serve would notice; `free` ones are those and the idle.

    `held` are drained on purpose though a balancer does not know it: one that is new, or has forgotten. `partly` serve, and
    these balancers keep them out nobody knows why: a run before could not reach it, or somebody's hand.
    """

    batches: tuple[Batch, ...]
    quiet: frozenset[str]
    free: frozenset[str]
    held: frozenset[str] = frozenset()
    partly: Mapping[str, list[str]] = field(default_factory=dict)


@once
def plan() -> Rollout:
    """Work the batches out for every host, from the facts of before the run, and say them.

    Raises:
        PyinfraError: a balancer does not answer, or the change would end the service.
    """
    found = plan_for(_reasons, lambda name: fleet().plans[name].release)
    for name, where in found.partly.items():
        logger.info(f"--> {name}: drained on {', '.join(where)}; returns there when it has passed its gate")
    return found


def plan_for(reasons: Reasons, release: Callable[[str], str | None], *, watched: bool = True) -> Rollout:
    """The batches of a run that touches hosts for these reasons; `release` is what each host is to serve after it.

    `watched`: whether there are canaries.

    Raises:
        PyinfraError: a balancer does not answer, or the change would end the service.
    """
    site = fleet().site
    try:
        rotations = look(state, balancers())
        states = _states(rotations, reasons, watched=watched)
        batches = tuple(rollout.batches(states))
        allowed = [name for name, spec in site.engines.items() if spec.allow_downtime]
        draining.check(rotations, batches, allowed=allowed)
    except BarewindError as error:
        raise PyinfraError(f"nothing was changed\n{error}") from error
    if unknown := _unknown_drains(rotations):
        raise PyinfraError("nothing was changed\n" + "\n".join(unknown))
    for line in rollout.describe(states, batches):
        logger.info(f"--> {line}")
    for one in states:
        if not one.held and mark(one.host) is not None:
            logger.warning(
                f"--> {one.host}: marked as drained on purpose, but gets requests: tasks/undrain.py or tasks/drain.py"
            )
    moved = {name for batch in batches for name in batch.hosts}
    idle = {name for batch in batches for name in batch.hosts if name not in batch.in_service}
    quiet = {name for name in site.engines if name in survey() and name not in moved}
    partly = {name: _keeping_out(rotations, name) for name in sorted(quiet) if mark(name) is None}
    aftermath.watch(batches, {one.host: one.group for one in states}, release)
    return Rollout(
        batches=batches,
        quiet=frozenset(quiet),
        free=frozenset(quiet | idle),
        held=frozenset(one.host for one in states if one.held and _forgotten(rotations, one.host)),
        partly={name: where for name, where in partly.items() if where},
    )


@deploy("Rotation")
def take_out(batch: Batch) -> None:
    """Have no balancer send requests to the hosts of a batch, and wait until they have none."""
    engine = engine_plan()
    if engine is not None and host.name in batch.drained:
        how = replace(drain(engine.spec, batch.drained), group=_members(_group(host.name)))
        leave(f"Batch {batch.number} of {batch.of}: leave the balancers", how)


@deploy("Rotation")
def put_back(batch: Batch) -> None:
    """Have every balancer that knows the hosts of a batch send them requests again."""
    if engine_plan() is not None and host.name in batch.returning:
        back(f"Batch {batch.number} of {batch.of}: return to the balancers")


@deploy("Rotation")
def bake(batch: Batch) -> None:
    """Watch the canaries of a batch under real traffic; the gate comes again at the end."""
    engine = engine_plan()
    if engine is not None and host.name in batch.baked:
        baked(
            name=f"Batch {batch.number} of {batch.of}: canary",
            server=host.name,
            balancers=balancers(),
            seconds=batch.canary,
            gate=gates.of(engine, render.UNIT),
            _timeout=batch.canary + 600,
        )


@deploy("Rotation")
def hold(hosts: frozenset[str]) -> None:
    """Have hosts that are drained on purpose drained in balancers too that did not know it."""
    if hosts:
        barrier(name="Every balancer has its servers")
    engine = engine_plan()
    if engine is not None and host.name in hosts:
        leave("Drained on purpose", Drain(timeout=engine.spec.drain_timeout, policy="proceed", allow_downtime=True))


@deploy("Rotation")
def rejoin(hosts: Hosts) -> None:
    """Have every balancer send requests to hosts that serve and that only some kept out."""
    if engine_plan(hosts) is not None:
        back("Return to every balancer")


def leave(name: str, how: Drain) -> None:
    """The host in hand leaves the balancers."""
    taken_out(name=name, server=host.name, balancers=balancers(), drain=how, _timeout=how.limit)


def back(name: str) -> None:
    """The host in hand returns to the balancers."""
    returned(name=name, server=host.name, balancers=balancers(), _timeout=600)


def drain(spec: EngineSpec, together: tuple[str, ...]) -> Drain:
    """How a host leaves, with others."""
    return Drain(
        timeout=spec.drain_timeout,
        policy=spec.drain_policy,
        together=together,
        allow_downtime=spec.allow_downtime,
        shutdown=spec.shutdown_timeout,
    )


def balancers() -> list[str]:
    """Every balancer, in this run or not."""
    return sorted(fleet().site.balancers)


def mark(name: str) -> Mark | None:
    """Whether a host of this run is drained on purpose."""
    seen = survey().get(name)
    return None if seen is None or seen.facts is None else seen.facts["drained"]


def running(name: str) -> str | None:
    """The release that a host of this run was seen to serve; None if its engine does not run."""
    seen = survey().get(name)
    if seen is None or seen.facts is None or not seen.facts["engine"]["active"]:
        return None
    return str(seen.facts["engine"]["release"] or "") or None


def _states(rotations: Mapping[str, Rotation], reasons: Reasons, *, watched: bool) -> list[HostState]:
    found = []
    for name, spec in fleet().site.engines.items():
        known = balancer.known(rotations.values(), name)
        marked = mark(name)
        # A balancer that sends it requests though another keeps it out on purpose has forgotten, and is told again.
        forgotten = marked is not None and balancer.kept_out(rotations.values(), name)
        serving = balancer.serving(rotations.values(), name) and not _stopped(name) and not forgotten
        why = reasons(name)
        standby = balancer.standby(rotations.values(), name)
        well = serving or (standby and balancer.available(rotations.values(), name))
        if not why and known and not well and name in survey() and marked is None:
            why = [LEFT_OUT]  # by a run that ended early, or its health check fails
        found.append(
            HostState(
                host=name,
                group=_group(name),
                reasons=tuple(why),
                serving=serving,
                known=known,
                selected=name in survey(),
                max_unavailable=spec.max_unavailable,
                allow_downtime=spec.allow_downtime,
                busy=not serving and any(balancer.in_flight(one, name) for one in rotations.values()),
                held=marked.said if marked is not None and not serving else "",
                canary=spec.canary if watched else 0,
                standby=standby,
            )
        )
    return found


def _keeping_out(rotations: Mapping[str, Rotation], name: str) -> list[str]:
    return [lb for lb, found in rotations.items() if balancer.kept_out([found], name)]


def _unknown_drains(rotations: Mapping[str, Rotation]) -> list[str]:
    """Balancers of this run that would send requests to a host that another keeps out, because the host is not in it."""
    active = {one.name for one in state.inventory.get_active_hosts()}
    drained = {name: _keeping_out(rotations, name) for name in fleet().site.engines if name not in active}
    return [
        f"{lb}: would send requests to {name}, which is drained on {', '.join(where)}; let this run include {name} "
        "(--limit), which keeps it out or returns it"
        for lb, found in rotations.items()
        for name, where in drained.items()
        if lb in active and where and name not in found.servers
    ]


def _forgotten(rotations: Mapping[str, Rotation], name: str) -> bool:
    """Whether some balancer would send a host requests as soon as its health check passes."""
    return any(name not in found.servers or found.servers[name].admin is Admin.READY for found in rotations.values())


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
    if running(name) != engine.release:
        found.append(f"release {running(name) or 'none'} -> {engine.release}")
    return found


def _members(group: str) -> dict[str, int | str]:
    """The hosts of a group that count for its capacity, and how many of them may be out by each one's max_unavailable."""
    return {name: spec.max_unavailable for name, spec in fleet().site.engines.items() if _group(name) == group}


def _group(name: str) -> str:
    """The group whose capacity counts: the first that the inventory lists the host under."""
    return next(iter(inventory.get_host(name).groups), "all")
