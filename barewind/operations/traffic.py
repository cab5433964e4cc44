"""Traffic moves to a group of hosts: every balancer is told, and each step but the last is watched."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from time import monotonic

import gevent
from pyinfra import logger
from pyinfra.api import FunctionCommand, Host, State, operation

from barewind import canary
from barewind.errors import BarewindError
from barewind.operations.canary import counted
from barewind.operations.rotation import look, weigh
from barewind.traffic import Move

_INTERVAL = 5.0  # seconds between looks
_MISSED = 3  # looks in a row that may find a host out of rotation

Weights = Mapping[str, Mapping[str, int]]  # by balancer and server


@operation(is_idempotent=False)
def shifted(move: Move, balancers: list[str]) -> Generator[FunctionCommand, None, None]:
    """Have every balancer send a group its share of the requests, step by step.

    When its requests fail between two steps, or a balancer cannot be told, weights go back to what they were before the step.

    + move: who gets how much, in which steps
    + balancers: hosts that balance

    **Example:**

    .. code:: python

        shifted(name="Move traffic", move=move, balancers=["lb1", "lb2"])
    """
    yield FunctionCommand(shift, (), {"move": move, "balancers": balancers})


def shift(state: State, host: Host, move: Move, balancers: list[str]) -> bool:
    """Take every step; False, and said so, when one was taken back."""
    before: Weights = {}
    problem = ""
    for number, share in enumerate(move.shares, 1):
        wanted: Weights = dict.fromkeys(balancers, move.weights(share))
        try:
            before = before or _weights(state, move, balancers)
            weigh(state, wanted)
            host.log(f"{share} % to {move.group}")
            problem = _watch(state, host, move, balancers) if number < len(move.shares) else ""
        except BarewindError as error:
            problem = str(error)
        if problem:
            break
        before = wanted
    if not problem:
        return True
    back = "; every weight goes back to what it was before" if before else ""
    logger.error(f"{host.print_prefix}{host.name}: {problem}{back}")
    try:
        weigh(state, before)
    except BarewindError as error:
        logger.error(f"{host.print_prefix}{host.name}: {error}")
    return False


def _weights(state: State, move: Move, balancers: list[str]) -> Weights:
    """What the servers that take part have now."""
    return {
        name: {one: found.servers[one].weight for one in (*move.to, *move.others) if one in found.servers}
        for name, found in look(state, balancers).items()
    }


def _watch(state: State, host: Host, move: Move, balancers: list[str]) -> str:
    """Why the next step must not be taken; empty when the hosts do well."""
    begun, missed = monotonic(), 0
    before = counted(state, balancers)
    verdict = canary.judge(move.to, before, before)
    while (waited := monotonic() - begun) < move.seconds:
        gevent.sleep(min(_INTERVAL, move.seconds - waited))
        out = _out(state, move, balancers)
        missed = missed + 1 if out else 0
        if missed >= _MISSED:
            return ", ".join(out)
        verdict = canary.judge(move.to, before, counted(state, balancers))
        if not verdict.good:
            return verdict.said
    host.log(f"{move.group} has served well for {move.seconds} s: {verdict.said}")
    return ""


def _out(state: State, move: Move, balancers: list[str]) -> list[str]:
    return [
        f"{name} is {found.servers[name].state.lower() if name in found.servers else 'gone'} on {lb}"
        for lb, found in look(state, balancers).items()
        for name in move.to
        if name not in found.servers or not found.servers[name].in_rotation
    ]
