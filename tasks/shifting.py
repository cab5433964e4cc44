"""Traffic that moves from group to group: who takes part, and what each must show before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from pyinfra import host, logger, state
from pyinfra.api import deploy
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.facts import get_fact
from pyinfra.context import ctx_host

from barewind import gates, pyinfra_hooks, render, traffic
from barewind.errors import BarewindError
from barewind.facts.history import ReleaseHistory
from barewind.gates import Gate
from barewind.operations.gate import passed
from barewind.operations.rotation import look
from barewind.operations.traffic import shifted
from barewind.plan import CONTAINER
from barewind.traffic import Move
from tasks import rollout
from tasks.fleet import engine_plan, fleet
from tasks.once import once
from tasks.survey import survey

_LOOKS = 1800  # seconds beyond the time limit: the last looks of a gate may take theirs


@dataclass(frozen=True)
class Shift:
    """The whole run. `planned` hosts run what is planned; `behind` another release, and this is its gate: a way back must
    not need a deploy. `idle`: every balancer has the weights already.
    """

    move: Move
    planned: frozenset[str]
    behind: Mapping[str, Gate]
    idle: bool


@once
def plan() -> Shift:
    """Work out who gets what, and say it.

    Raises:
        PyinfraError: there is no such group, one of its hosts is not fit for requests, or a balancer does not answer.
    """
    site = fleet().site
    members = [name for name, spec in site.engines.items() if site.to in spec.groups]
    hosts = [name for name in members if name in survey()]
    stopped = [name for name in hosts if rollout.running(name) is None]
    if not hosts:
        raise PyinfraError(f"nothing was changed\n{_no_group(members)}")
    if stopped:
        raise PyinfraError(f"nothing was changed\n{', '.join(stopped)}: no engine runs; deploy first")
    try:
        rotations = look(state, rollout.balancers())
        move = traffic.plan(rotations, str(site.to), hosts, shares=site.shares, seconds=site.step_seconds)
    except BarewindError as error:
        raise PyinfraError(f"nothing was changed\n{error}") from error
    behind = {name: _gate_of_now(name) for name in hosts if rollout.running(name) != fleet().plans[name].release}
    idle = traffic.done(move, rotations)
    left_out = [name for name in members if name not in hosts]
    for line in [
        *(["every balancer has these weights already"] if idle else []),
        *traffic.describe(move),
        *([f"not in this run, gets nothing more: {', '.join(left_out)}"] if left_out else []),
    ]:
        logger.info(f"--> {line}")
    pyinfra_hooks.at_end(lambda _: _say(move))
    return Shift(move, frozenset(hosts) - behind.keys(), behind, idle)


@deploy("Gate")
def gate(hosts: Mapping[str, Gate]) -> None:
    """Hosts pass the gate of the release that they run."""
    wanted = engine_plan(hosts)
    if wanted is not None:
        passed(
            name="Engine answers",
            gate=hosts[host.name],
            why=fleet().site.reason,
            _timeout=wanted.spec.startup_timeout + _LOOKS,
        )


@deploy("Traffic")
def shift() -> None:
    """Have every balancer take the steps; the first host of the group sees to it."""
    wanted = plan()
    move = wanted.move
    if host.name == move.to[0] and not wanted.idle:
        limit = (move.seconds + 120) * len(move.shares)
        shifted(name=f"To {move.group}", move=move, balancers=rollout.balancers(), _timeout=limit)


def _no_group(members: list[str]) -> str:
    site = fleet().site
    groups = dict.fromkeys(group for spec in site.engines.values() for group in spec.groups)
    known = f"groups with engine hosts: {', '.join(groups)}"
    if site.to is None:
        return f"key 'to': not set; say which group shall get the requests: --data to=GROUP ({known})"
    if members:
        return f"group '{site.to}': none of its hosts is in this run; see --limit and --exclude"
    return f"key 'to': no engine host is in group '{site.to}' ({known})"


def _gate_of_now(name: str) -> Gate:
    """The gate of what a host runs, by its own record; without one by the plan."""
    one, planned, running = state.inventory.get_host(name), fleet().plans[name], str(rollout.running(name))
    with ctx_host.use(one):
        found = get_fact(
            state, one, ReleaseHistory, kwargs={"unit": render.UNIT, "container": CONTAINER}, apply_failed_hosts=False
        )
    record = (found or {"records": {}})["records"].get(running)
    if record is None:
        return replace(gates.of(planned, render.UNIT), release=running)
    return gates.of_record(record, planned, render.UNIT)


def _say(move: Move) -> None:
    try:
        for line in traffic.told(move, look(state, rollout.balancers())):
            logger.info(f"--> {line}")
    except BarewindError as error:
        logger.error(str(error))
