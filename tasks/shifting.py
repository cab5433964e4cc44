"""Traffic that moves from group to group: who takes part, and what each must show before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pyinfra import host, logger, state
from pyinfra.api import deploy
from pyinfra.api.exceptions import PyinfraError

from barewind import pyinfra_hooks, traffic
from barewind.errors import BarewindError
from barewind.gates import Gate
from barewind.operations.rotation import look
from barewind.operations.traffic import shifted
from barewind.traffic import Move
from tasks import gate, rollout
from tasks.fleet import fleet
from tasks.once import once
from tasks.survey import survey


@dataclass(frozen=True)
class Shift:
    """The whole run. `gates` are of what the group's hosts run, planned or not: a way back must not need a deploy.

    `idle`: every balancer has the weights already.
    """

    move: Move
    gates: Mapping[str, Gate]
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
    if not hosts:
        raise PyinfraError(f"nothing was changed\n{_no_group(members)}")
    now = gate.of_now(hosts)
    try:
        rotations = look(state, rollout.balancers())
        move = traffic.plan(rotations, str(site.to), hosts, shares=site.shares, seconds=site.step_seconds)
    except BarewindError as error:
        raise PyinfraError(f"nothing was changed\n{error}") from error
    idle = traffic.done(move, rotations)
    left_out = [name for name in members if name not in hosts]
    for line in [
        *(["every balancer has these weights already"] if idle else []),
        *traffic.describe(move),
        *([f"not in this run, gets nothing more: {', '.join(left_out)}"] if left_out else []),
    ]:
        logger.info(f"--> {line}")
    pyinfra_hooks.at_end(lambda _: _say(move))
    return Shift(move, now, idle)


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


def _say(move: Move) -> None:
    try:
        for line in traffic.told(move, look(state, rollout.balancers())):
            logger.info(f"--> {line}")
    except BarewindError as error:
        logger.error(str(error))
