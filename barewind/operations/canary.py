"""A canary: a host that has just returned is watched under real traffic before the others leave."""

from __future__ import annotations

import shlex
from collections.abc import Generator, Mapping
from time import monotonic

import gevent
from gevent.pool import Pool
from pyinfra import logger
from pyinfra.api import FunctionCommand, Host, State, operation

from barewind import balancer, canary, history
from barewind.canary import Counted
from barewind.errors import BarewindError
from barewind.gates import Gate
from barewind.operations.rotation import look
from barewind.operations.shell import run

_INTERVAL = 5.0  # seconds between looks
_MISSED = 3  # looks in a row that may find its health wanting: one can be late under load


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
    try:
        said, well = _watch(state, host, server, balancers, seconds, gate)
    except BarewindError as error:
        said, well = str(error), False
    waited = f"{monotonic() - begun:.0f} s"
    if well:
        host.log(f"has served well for {waited}: {said}")
        return True
    run(state, host, history.failed(gate.release, f"as a canary, after {waited}: {said}"))
    logger.error(f"{host.print_prefix}{host.name}: the canary does not do well: {said}, {waited} after its return")
    return False


def _watch(state: State, host: Host, server: str, balancers: list[str], seconds: int, gate: Gate) -> tuple[str, bool]:
    """What there is to say, and whether it does well."""
    begun, missed = monotonic(), 0
    # A balancer that does not have it tells nothing about it.
    watching = [name for name, found in look(state, balancers).items() if balancer.known([found], server)]
    before, start = counted(state, watching), _unit(state, host, gate.unit)
    verdict = canary.judge([server], before, before)
    host.log(f"is watched for {seconds} s")
    while (waited := monotonic() - begun) < seconds:
        gevent.sleep(min(_INTERVAL, seconds - waited))
        now = _unit(state, host, gate.unit)
        if now and now != start:
            return f"its unit was at {start}, and is at {now}", False
        well = now and _healthy(state, host, gate) and _in_rotation(state, watching, server)
        missed = 0 if well else missed + 1
        if missed >= _MISSED:
            return "its health check fails", False
        verdict = canary.judge([server], before, counted(state, watching))
        if not verdict.good:
            break
    return verdict.said, verdict.good


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
    """Its state and how often it was restarted, as systemd writes it; empty when the host does not answer."""
    answer = run(state, host, f"systemctl show -p ActiveState -p NRestarts {shlex.quote(unit)}")
    return " ".join(answer.output.split())


def _healthy(state: State, host: Host, gate: Gate) -> bool:
    command = f"curl -fsS --noproxy '*' -m 30 -o /dev/null {shlex.quote(gate.url + gate.health)}"
    return not run(state, host, command).problem


def _in_rotation(state: State, balancers: list[str], server: str) -> bool:
    return all(
        found.servers[server].in_rotation for found in look(state, balancers).values() if server in found.servers
    )
