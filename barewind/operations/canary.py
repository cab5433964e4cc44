"""A canary: a host that has just returned is watched under real traffic before the others leave."""

from __future__ import annotations

import shlex
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from time import monotonic

import gevent
from gevent.pool import Pool
from pyinfra import logger
from pyinfra.api import FunctionCommand, Host, State, operation

from barewind import balancer, canary, history
from barewind.canary import Counted, Verdict
from barewind.errors import BarewindError
from barewind.gates import Gate
from barewind.operations.rotation import look
from barewind.operations.shell import run

_INTERVAL = 5.0  # seconds between looks
_MISSED = 3  # looks in a row that find its health wanting, or find out nothing: one can be late under load


@dataclass(frozen=True)
class _Start:
    """How it was when it returned. `watching` are the balancers that have it: another one tells nothing about it."""

    watching: list[str]
    counters: Mapping[str, Mapping[str, Counted]]
    unit: str


@operation(is_idempotent=False)
def baked(server: str, balancers: list[str], seconds: int, gate: Gate) -> Generator[FunctionCommand, None, None]:
    """Watch a server under real traffic; fails as soon as its unit restarts, its health goes, or its requests fail.

    + server: name of the server
    + balancers: hosts that balance
    + seconds: for how long
    + gate: what the engine is, and the release that is watched

    **Example:**

    .. code:: python

        baked(name="Canary", server="gpu-h1", balancers=["lb1"], seconds=600, gate=gates.of(plan, "barewind-engine.service"))
    """
    wanted = {"server": server, "balancers": balancers, "seconds": seconds, "gate": gate}
    yield FunctionCommand(bake, (), wanted)


def bake(state: State, host: Host, server: str, balancers: list[str], seconds: int, gate: Gate) -> bool:
    """Watch; False, said and noted in the host's history, when the server does not do well."""
    begun = monotonic()
    verdict = _watch(state, host, server, balancers, seconds, gate)
    waited = f"{monotonic() - begun:.0f} s"
    if verdict.good:
        host.log(f"has served well for {waited}: {verdict.said}")
        return True
    run(state, host, history.failed(gate.release, f"as a canary, after {waited}: {verdict.said}"))
    logger.error(
        f"{host.print_prefix}{host.name}: the canary does not do well: {verdict.said}, {waited} after its return"
    )
    return False


def _watch(state: State, host: Host, server: str, balancers: list[str], seconds: int, gate: Gate) -> Verdict:
    """Whether it does well for so long, and what there is to say."""
    begun, missed = monotonic(), 0
    start: _Start | None = None
    verdict = Verdict(True, "")
    host.log(f"is watched for {seconds} s")
    while True:
        try:
            start = start or _begin(state, host, server, balancers, gate)
            verdict = _look(state, host, server, start, gate)
            missed = 0
        except BarewindError as error:
            missed += 1
            if missed >= _MISSED:
                return Verdict(False, f"{error}; {missed} looks in a row")
        left = seconds - (monotonic() - begun)
        if not verdict.good or (left <= 0 and not missed):
            return verdict
        gevent.sleep(min(_INTERVAL, left) if left > 0 else _INTERVAL)


def _begin(state: State, host: Host, server: str, balancers: list[str], gate: Gate) -> _Start:
    watching = [name for name, found in look(state, balancers).items() if balancer.known([found], server)]
    return _Start(watching, counted(state, watching), _unit(state, host, gate.unit))


def _look(state: State, host: Host, server: str, start: _Start, gate: Gate) -> Verdict:
    """How it does now.

    Raises:
        BarewindError: it or a balancer does not answer, its health check fails, or it gets no requests: for a moment, maybe.
    """
    now = _unit(state, host, gate.unit)
    if now != start.unit:
        return Verdict(False, f"its unit was at {start.unit}, and is at {now}")
    verdict = canary.judge([server], start.counters, counted(state, start.watching))
    if verdict.good:
        _check_health(state, host, gate)
        _check_rotation(state, start.watching, server)
    return verdict


def counted(state: State, balancers: list[str]) -> Mapping[str, Mapping[str, Counted]]:
    """What became of the requests of every server, on each balancer.

    Raises:
        BarewindError: a balancer does not tell.
    """

    def one(name: str) -> dict[str, Counted] | BarewindError:
        answer = run(state, state.inventory.get_host(name), canary.COUNTERS)
        if answer.problem:
            return BarewindError(f"{name}: its counters cannot be read ({answer.problem})")
        try:
            return canary.read(answer.output, name)
        except BarewindError as error:
            return error

    found = dict(zip(balancers, Pool(len(balancers) or 1).map(one, balancers), strict=True))
    for answer in found.values():
        if isinstance(answer, BarewindError):
            raise answer
    return {name: answer for name, answer in found.items() if not isinstance(answer, BarewindError)}


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


def _check_rotation(state: State, balancers: list[str], server: str) -> None:
    rotations = look(state, balancers)
    out = [
        name for name, found in rotations.items() if server in found.servers and not found.servers[server].in_rotation
    ]
    if out:
        raise BarewindError(f"gets no requests from {', '.join(out)}")
