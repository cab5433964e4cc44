"""A canary: a host that was just undrained stands under real traffic before the others are drained."""

from __future__ import annotations

import shlex
from collections.abc import Generator, Mapping
from dataclasses import dataclass

from pyinfra import logger
from pyinfra.api import FunctionCommand, Host, State, operation

from barewind.balancer import commands as balancer
from barewind.balancer.operations.balancers import Balancers
from barewind.errors import BarewindError
from barewind.gate.plan import Gate
from barewind.hosts.poll import Poll
from barewind.hosts.shell import run
from barewind.release import history
from barewind.rollout import canary
from barewind.rollout.canary import Counters, Verdict

_INTERVAL = 5.0  # seconds between looks
# In the first minute looks are closer: an engine that answers everything with an error is done at once, so it has the fewest
# requests and gets most of those to come. HAProxy leaves it in, since errors may be the clients'.
_FIRST, _CLOSE = 60.0, 1.0
_MISSED = 3  # looks in a row that find its health wanting, or find out nothing: one can be late under load


@dataclass(frozen=True)
class _Start:
    """How it was when it was undrained. `balancers` are those that have it: another one tells nothing about it."""

    balancers: list[str]
    counters: Mapping[str, Counters]
    unit: str


@operation(is_idempotent=False)
def canary_passed(balancers: Balancers, seconds: int, gate: Gate) -> Generator[FunctionCommand, None, None]:
    """Have the host stand under real traffic; fails as soon as its unit restarts, its health goes, or its requests fail.

    + balancers: those of the fleet
    + seconds: for how long
    + gate: the engine and the release that is the canary

    **Example:**

    .. code:: python

        canary_passed(name="Canary", balancers=balancers, seconds=600, gate=gates.of(plan, "barewind-engine.service"))
    """
    yield FunctionCommand(pass_canary, (), {"balancers": balancers, "seconds": seconds, "gate": gate})


def pass_canary(state: State, host: Host, balancers: Balancers, seconds: int, gate: Gate) -> bool:
    """Look at a host under real traffic; False, said and noted in the host's history, when it does not do well."""
    poll = Poll(_INTERVAL)
    host.log(f"canary: under real traffic for {seconds} s")
    verdict = _judge(state, host, balancers, gate, poll, seconds)
    waited = f"{poll.waited:.0f} s"
    if verdict.good:
        host.log(f"has served well for {waited}: {verdict.message}")
        return True
    run(
        state,
        host,
        history.failed(gate.release, f"as a canary, after {waited}: {verdict.message}", replica=gate.replica),
    )
    logger.error(
        f"{host.print_prefix}{gate.host}: the canary does not do well: {verdict.message}, {waited} after its undrain"
    )
    return False


def _judge(state: State, host: Host, balancers: Balancers, gate: Gate, poll: Poll, seconds: int) -> Verdict:
    """Whether it does well for so long, and what there is to say; it does not end on a look that has found out nothing."""
    missed = 0
    start: _Start | None = None
    verdict = Verdict(True, "")
    while True:
        try:
            start = start or _begin(state, host, balancers, gate)
            verdict = _look(state, host, balancers, start, gate)
            missed = 0
        except BarewindError as error:
            missed += 1
            if missed >= _MISSED:
                return Verdict(False, f"{error}; {missed} looks in a row")
        left = seconds - poll.waited
        if not verdict.good or (left <= 0 and not missed):
            return verdict
        close = _CLOSE if poll.waited < _FIRST and not missed else _INTERVAL
        poll.pause(min(close, left) if left > 0 else _INTERVAL)


def _begin(state: State, host: Host, balancers: Balancers, gate: Gate) -> _Start:
    having = [name for name, rotation in balancers.look().items() if balancer.known([rotation], gate.host)]
    return _Start(having, counters(balancers, having), _unit(state, host, gate.unit))


def _look(state: State, host: Host, balancers: Balancers, start: _Start, gate: Gate) -> Verdict:
    """How it does now.

    Raises:
        BarewindError: it or a balancer does not answer, its health check fails, or it gets no requests: for a moment, maybe.
    """
    now = _unit(state, host, gate.unit)
    if now != start.unit:
        return Verdict(False, f"its unit was at {start.unit}, and is at {now}")
    verdict = canary.judge([gate.host], start.counters, counters(balancers, start.balancers))
    if verdict.good:
        _check_health(state, host, gate)
        _check_rotation(balancers, start.balancers, gate.host)
    return verdict


def counters(balancers: Balancers, names: list[str] | None = None) -> dict[str, Counters]:
    """The requests of every server, on each of these balancers; without names, on all.

    Raises:
        BarewindError: a balancer does not tell.
    """
    return dict(balancers.ask(canary.COUNTERS, canary.read, names).all())


def _unit(state: State, host: Host, unit: str) -> str:
    """Its state and how often it was restarted, as systemd writes it."""
    answer = run(state, host, f"systemctl show -p ActiveState -p NRestarts {shlex.quote(unit)}")
    if answer.problem:
        raise BarewindError(f"its host does not say how its unit is ({answer.problem})")
    return " ".join(answer.output.split())


def _check_health(state: State, host: Host, gate: Gate) -> None:
    command = f"curl -fsS --noproxy '*' -m 30 -o /dev/null {shlex.quote(gate.url + gate.health)}"
    problem = run(state, host, command).problem
    if problem:
        raise BarewindError(f"its health check fails ({problem})")


def _check_rotation(balancers: Balancers, names: list[str], server: str) -> None:
    out = [
        name
        for name, rotation in balancers.look(names).items()
        if server in rotation.servers and not rotation.servers[server].in_rotation
    ]
    if out:
        raise BarewindError(f"gets no requests from {', '.join(out)}")
