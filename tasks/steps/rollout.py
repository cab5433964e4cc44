"""Which hosts are touched when: those that serve nobody first, then those that serve, batch by batch, drained."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from pyinfra import host, logger
from pyinfra.api import deploy

from barewind.balancer.drain import Drain
from barewind.balancer.operations.drain import drained, undrained
from barewind.gate import plan as gates
from barewind.hosts.barrier import barrier
from barewind.plan.engine import EnginePlan
from barewind.rollout.batches import Batch
from barewind.rollout.operations.canary import canary_passed
from barewind.rollout.states import Rollout
from barewind.tasks.run import balancers, engine_plans, fleet, once
from barewind.tasks.steps import batches

_UNDRAIN = 600  # seconds after which an undrain is stuck, and not just slow
_CANARY = 600  # seconds beyond its own: the last looks at a canary may take theirs


@once
def plan() -> Rollout:
    """Work the batches out for every host, from the facts of before the run, and say them.

    Raises:
        PyinfraError: a balancer does not answer, or the change would end the service.
    """
    hosts = batches.plan(
        batches.reasons_to_deploy,
        lambda name: fleet().plans[name].release,
        reasons_of_host=batches.reasons_of_host,
    )
    for name, names in hosts.partially_drained.items():
        logger.info(f"--> {name}: drained on {', '.join(names)}; is undrained there when it has passed its gate")
    return hosts


def own_batches(batches: Sequence[Batch]) -> Iterator[Batch]:
    """The batches of the host in hand, each when the batch before serves; what comes after the loop comes when all do.

    A host is in one batch at most, or in several where it has several engines. It meets at the barrier at the end of its own
    batch and at the one before, so each batch holds back the next, whoever else is in the run. At the last barrier every host of
    the run meets.
    """
    engines = [plan.name for plan in engine_plans()]
    own = {number for number, batch in enumerate(batches) if any(name in batch.hosts for name in engines)}
    last = len(batches) - 1
    meeting = {last, *own, *(number - 1 for number in own)}
    for number in sorted(number for number in meeting if 0 <= number <= last):
        host.loop_position.append(
            number
        )  # tells pyinfra the steps of one batch from those of another, as host.loop does
        try:
            if number in own:
                yield batches[number]
            barrier(name="The batch serves")
        finally:
            host.loop_position.pop()


@deploy("Rotation")
def drain(batch: Batch) -> None:
    """Have no balancer send requests to the engines of a batch, and wait until they have none."""
    engines = engine_plans(batch.drained)
    if engines:
        group = batches.capacity()[batches.group(host.name)]
        how = Drain.of(engines[0].spec, batch.drained, group=group)
        drain_engines(f"Batch {batch.number} of {batch.of}: drain", engines, how)


@deploy("Rotation")
def undrain(batch: Batch) -> None:
    """Have every balancer that knows the engines of a batch send them requests again."""
    undrain_engines(f"Batch {batch.number} of {batch.of}: undrain", engine_plans(batch.undrained), batch.undrained)


@deploy("Rotation")
def canary(batch: Batch) -> None:
    """Have the canaries of a batch stand under real traffic; the gate comes again at the end."""
    for engine in host.loop(engine_plans(batch.canaries)):
        canary_passed(
            name=f"Batch {batch.number} of {batch.of}: canary",
            balancers=balancers(),
            seconds=batch.canary_seconds,
            gate=gates.of(engine),
            _timeout=batch.canary_seconds + _CANARY,
        )


@deploy("Rotation")
def keep_drained(hosts: frozenset[str]) -> None:
    """Have hosts in maintenance drained on balancers too that did not know them."""
    if hosts:
        barrier(name="Every balancer has its servers")
    engines = engine_plans(hosts)
    if engines:
        own = tuple(engine.name for engine in engines)
        how = replace(Drain.of(engines[0].spec, own), policy="proceed", allow_downtime=True)
        drain_engines("Drain, for its maintenance", engines, how)


@deploy("Rotation")
def undrain_everywhere(hosts: Collection[str]) -> None:
    """Have every balancer send requests to engines that serve and that only some drain."""
    undrain_engines("Undrain on every balancer", engine_plans(hosts), hosts)


def drain_engines(name: str, engines: Sequence[EnginePlan], drain: Drain) -> None:
    """Drain engines of the host in hand; `name` is that of the operation."""
    own = [engine.name for engine in engines]
    drained(name=name, balancers=balancers(), engines=own, drain=drain, _timeout=drain.limit)


def undrain_engines(name: str, engines: Sequence[EnginePlan], together: Collection[str]) -> None:
    """Undrain engines of the host in hand, if any; `name` is that of the operation, `together` are all that are undrained at the
    same time."""
    if engines:
        own = [engine.name for engine in engines]
        undrained(name=name, balancers=balancers(), engines=own, together=frozenset(together), _timeout=_UNDRAIN)
