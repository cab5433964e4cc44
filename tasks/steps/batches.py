"""The batches of a run: why each host must leave service, and when."""

from __future__ import annotations

from collections.abc import Callable

from pyinfra import inventory, logger, state
from pyinfra.api.exceptions import PyinfraError

from barewind.docker.plan import docker_plan, drain_reasons
from barewind.errors import BarewindError
from barewind.preflight.checks import renumbered
from barewind.release.host_part import cards_change
from barewind.rollout import states
from barewind.rollout.batches import batches, check, describe
from barewind.rollout.states import EngineHost, Rollout
from barewind.spec.keys import EngineSpec
from barewind.tasks.run import balancers, facts_of, fleet, host_facts, once, running
from barewind.tasks.steps import drivers, on_failure


def plan(
    reasons: Callable[[str], list[str]],
    release: Callable[[str], str | None],
    *,
    reasons_of_host: Callable[[str], list[str]] = lambda _: [],
    canaries: bool = True,
) -> Rollout:
    """The batches of a run, said.

    + reasons: of an engine's name: why it must leave service
    + release: of an engine's name: what it is to serve after the run
    + reasons_of_host: of a host's name: why all its engines must leave service together
    + canaries: whether there are canaries

    Raises:
        PyinfraError: a balancer does not answer, or the change would end the service.
    """
    of_hosts = {name: tuple(reasons_of_host(name)) for name in fleet().hosts}
    hosts = [
        _engine_host(spec, of_hosts[spec.host], tuple(reasons(name))) for name, spec in fleet().site.engines.items()
    ]
    deployed = {member.name for member in state.inventory.get_active_hosts()}
    try:
        rotations = balancers().look()
        known = states.states(rotations, hosts, canaries=canaries)
        planned = batches(known)
        check(rotations, planned, allowed=[each.name for each in hosts if each.spec.allow_downtime])
        states.check_unknown_drains(rotations, hosts, deployed)
    except BarewindError as error:
        raise PyinfraError(f"nothing was changed\n{error}") from error
    for line in describe(known, planned):
        logger.info(f"--> {line}")
    for line in states.ignored_maintenance(rotations, hosts):
        logger.warning(f"--> {line}")
    on_failure.prepare(planned, {each.name: each.group for each in hosts}, release)
    return states.rollout(rotations, hosts, planned)


def reasons_to_deploy(name: str) -> list[str]:
    """Why a host must be touched in a way that what it serves would notice."""
    known, engine = facts_of(name), fleet().plans[name]
    if known is None or known.facts is None:
        return []
    changes = states.release_change(running(name), engine.release)
    rights = states.rights_change(known.facts.get("user"), hardened=engine.spec.container_hardening) if changes else []
    return [*changes, *rights]


def reasons_of_host(name: str) -> list[str]:
    """Why all engines of a host must be touched together: what they run on changes."""
    known, engine = host_facts().get(name), fleet().hosts[name]
    if known is None or known.facts is None:
        return []
    docker = drain_reasons(docker_plan(engine.spec, known.facts["os"]), known.facts["packages"])
    number = [f"{len(known.facts['engine_units'])} engine(s) -> {engine.spec.replicas}"]
    return [
        *drivers.reasons(name),
        *docker,
        *(number if renumbered(engine.spec, known.facts["engine_units"]) else []),
        *cards_change(known.facts["engines"], engine.spec),
    ]


@once
def capacity() -> dict[str, dict[str, int | str]]:
    """By group its engine hosts, and by each one's max_unavailable how many of them may be out."""
    return states.members(map(_engine_host, fleet().site.engines.values()))


def group(name: str) -> str:
    """The group whose capacity counts: the first that the inventory lists the host under."""
    return next(iter(inventory.get_host(name).groups), "all")


def _engine_host(spec: EngineSpec, of_host: tuple[str, ...] = (), own: tuple[str, ...] = ()) -> EngineHost:
    facts = host_facts().get(spec.host)
    if facts is None:
        return EngineHost(spec, group(spec.host), selected=False, reasons=(*of_host, *own), together=bool(of_host))
    return EngineHost(
        spec,
        group(spec.host),
        active=facts.active(spec.replica),
        maintenance=facts.maintenance,
        reasons=(*of_host, *own),
        together=bool(of_host),
    )
