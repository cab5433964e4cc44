"""Traffic directed to a group: who takes part, and what each must show before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pyinfra import logger
from pyinfra.api import deploy
from pyinfra.api.exceptions import PyinfraError

from barewind import pyinfra_hooks
from barewind.balancer.base_weights import base_weights
from barewind.errors import BarewindError
from barewind.gate.plan import Gate
from barewind.rollout import traffic
from barewind.rollout.operations.traffic import traffic_directed
from barewind.rollout.traffic import Traffic
from barewind.tasks.run import balancers, engine_plan, engines_of_run, fleet, once
from barewind.tasks.steps import gate

_STEP = 120  # seconds beyond those between two steps


@dataclass(frozen=True)
class Plan:
    """The whole run.

    + gates: of what the group's hosts run, planned or not: a way back must not need a deploy
    + directed: every balancer has the weights already
    """

    traffic: Traffic
    gates: Mapping[str, Gate]
    directed: bool


@once
def plan() -> Plan:
    """Work out who gets what, and say it.

    Raises:
        PyinfraError: there is no such group, one of its hosts is not fit for requests, or a balancer does not answer.
    """
    site = fleet().site
    try:
        hosts, left_out = traffic.members(site.engines, site.to, set(engines_of_run()))
        gates = gate.of_now(hosts)
        rotations = balancers().look()
        planned = traffic.plan(
            rotations,
            str(site.to),
            hosts,
            shares=site.shares,
            seconds=site.step_seconds,
            base=base_weights(site.engines.values()),
        )
    except BarewindError as error:
        raise PyinfraError(f"nothing was changed\n{error}") from error
    directed = traffic.directed(planned, rotations)
    for line in [
        *(["every balancer has these weights already"] if directed else []),
        *traffic.describe(planned),
        *([f"not in this run, gets nothing more: {', '.join(left_out)}"] if left_out else []),
    ]:
        logger.info(f"--> {line}")
    pyinfra_hooks.at_end(lambda _: _say(planned))
    return Plan(planned, gates, directed)


@deploy("Traffic")
def direct() -> None:
    """Have every balancer take the steps; the first host of the group sees to it."""
    planned = plan()
    wanted = planned.traffic
    if engine_plan(wanted.to[:1]) is not None and not planned.directed:
        limit = (wanted.seconds + _STEP) * len(wanted.shares)
        traffic_directed(name=f"To {wanted.group}", traffic=wanted, balancers=balancers(), _timeout=limit)


def _say(planned: Traffic) -> None:
    try:
        for line in traffic.distribution(planned, balancers().look()):
            logger.info(f"--> {line}")
    except BarewindError as error:
        logger.error(str(error))
