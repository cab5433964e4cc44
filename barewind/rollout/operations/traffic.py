"""Traffic moves to a group of hosts: every balancer is told, and each step but the last is looked at like a canary."""

from __future__ import annotations

from collections.abc import Generator, Mapping

from pyinfra import logger
from pyinfra.api import FunctionCommand, Host, State, operation

from barewind.balancer.operations.balancers import Balancers
from barewind.errors import BarewindError
from barewind.hosts.poll import Poll
from barewind.rollout import canary
from barewind.rollout.operations.canary import counters
from barewind.rollout.traffic import Traffic

_INTERVAL = 5.0  # seconds between looks
_MISSED = 3  # looks in a row that may find a host out of rotation

Weights = Mapping[str, Mapping[str, int]]  # by balancer and server


@operation(is_idempotent=False)
def traffic_directed(traffic: Traffic, balancers: Balancers) -> Generator[FunctionCommand, None, None]:
    """Have every balancer send a group its share of the requests, step by step.

    When its requests fail between two steps, or a balancer cannot be told, weights are set to what they were before the step.

    + traffic: who gets how much, in which steps
    + balancers: those of the fleet

    **Example:**

    .. code:: python

        traffic_directed(name="To green", traffic=traffic.plan(...), balancers=balancers)
    """
    yield FunctionCommand(direct_traffic, (), {"traffic": traffic, "balancers": balancers})


def direct_traffic(state: State, host: Host, traffic: Traffic, balancers: Balancers) -> bool:
    """Take every step; False, and said so, when one was taken back."""
    del state  # pyinfra hands it to every function that asks for the host
    before: Weights = {}
    problem = ""
    for number, share in enumerate(traffic.shares, 1):
        wanted: Weights = dict.fromkeys(balancers.names, traffic.weights(share))
        try:
            before = before or _weights(traffic, balancers)
            balancers.weigh(wanted)
            host.log(f"{share} % to {traffic.group}")
            problem = _problem(host, traffic, balancers) if number < len(traffic.shares) else ""
        except BarewindError as error:
            problem = str(error)
        if problem:
            break
        before = wanted
    if not problem:
        return True
    taken_back = "; every weight is set to what it was before" if before else ""
    logger.error(f"{host.print_prefix}{host.name}: {problem}{taken_back}")
    try:
        balancers.weigh(before)
    except BarewindError as error:
        logger.error(f"{host.print_prefix}{host.name}: {error}")
    return False


def _weights(traffic: Traffic, balancers: Balancers) -> Weights:
    """The weights of the servers that take part, as they are."""
    return {
        lb: {name: rotation.servers[name].weight for name in (*traffic.to, *traffic.others) if name in rotation.servers}
        for lb, rotation in balancers.look().items()
    }


def _problem(host: Host, traffic: Traffic, balancers: Balancers) -> str:
    """Why the next step must not be taken; empty when the hosts do well until then."""
    missed = 0
    before = counters(balancers)
    verdict = canary.judge(traffic.to, before, before)
    poll = Poll(_INTERVAL, traffic.seconds)
    while poll.pause():
        out = _out_of_rotation(traffic, balancers)
        missed = missed + 1 if out else 0
        if missed >= _MISSED:
            return ", ".join(out)
        verdict = canary.judge(traffic.to, before, counters(balancers))
        if not verdict.good:
            return verdict.message
    host.log(f"{traffic.group} has served well for {traffic.seconds} s: {verdict.message}")
    return ""


def _out_of_rotation(traffic: Traffic, balancers: Balancers) -> list[str]:
    return [
        f"{name} is {rotation.servers[name].state.lower() if name in rotation.servers else 'gone'} on {lb}"
        for lb, rotation in balancers.look().items()
        for name in traffic.to
        if name not in rotation.servers or not rotation.servers[name].in_rotation
    ]
