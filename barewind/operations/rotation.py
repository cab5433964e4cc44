"""A host leaves the balancers and returns: done from the host's own turn, on every balancer, whether in this run or not."""

from __future__ import annotations

from collections.abc import Callable, Generator
from time import monotonic

import gevent
from gevent.pool import Pool
from pyinfra import logger
from pyinfra.api import FunctionCommand, Host, State, operation

from barewind import balancer
from barewind.balancer import Rotation
from barewind.errors import BarewindError
from barewind.operations.shell import run

_INTERVAL = 1.0  # seconds between looks
_SAY = 15.0  # seconds between two lines about the same wait
_RETURN = 120  # seconds; two health checks and a slow start take less

Reader = Callable[[str, str], Rotation]


@operation(is_idempotent=False)
def taken_out(server: str, balancers: list[str], timeout: int) -> Generator[FunctionCommand, None, None]:
    """Have no balancer send requests to a server, and wait until those in flight have ended.

    If they do not end in time, the server gets requests again and the host fails, untouched.

    + server: name of the server
    + balancers: hosts that balance
    + timeout: seconds

    **Example:**

    .. code:: python

        taken_out(name="Leave the balancers", server="gpu-h1", balancers=["lb1", "lb2"], timeout=2100)
    """
    yield FunctionCommand(_take_out, (), {"server": server, "balancers": balancers, "timeout": timeout})


@operation(is_idempotent=False)
def returned(server: str, balancers: list[str]) -> Generator[FunctionCommand, None, None]:
    """Have every balancer that knows a server send it requests, and wait until they do.

    + server: name of the server
    + balancers: hosts that balance

    **Example:**

    .. code:: python

        returned(name="Return to the balancers", server="gpu-h1", balancers=["lb1", "lb2"])
    """
    yield FunctionCommand(_return, (), {"server": server, "balancers": balancers})


def look(state: State, balancers: list[str]) -> dict[str, Rotation]:
    """What every balancer does with its servers.

    Raises:
        BarewindError: a balancer does not answer, or not as expected.
    """
    return _ask(state, balancers, balancer.rotation(), balancer.read)


def _take_out(state: State, host: Host, server: str, balancers: list[str], timeout: int) -> bool:
    drain = balancer.drain(server)

    def read(output: str, name: str) -> Rotation:
        return balancer.read_drained(output, name, server)

    begun, said, told = monotonic(), "", 0.0
    try:
        while True:
            now = _ask(state, balancers, drain, read)
            wait = balancer.drained(now, server, waited=monotonic() - begun, limit=timeout)
            if wait.outcome != "waiting":
                break
            if wait.said != said and monotonic() - told > _SAY:
                host.log(f"waits for {wait.said}")
                said, told = wait.said, monotonic()
            gevent.sleep(_INTERVAL)
        if wait.outcome == "done":
            return True
        problem = f"{wait.said}; raise 'drain_timeout', or end these requests"
    except BarewindError as error:
        problem = str(error)
    _undo(state, server, balancers)
    return _failed(host, f"{problem}. Its requests go on, the host was not touched")


def _return(state: State, host: Host, server: str, balancers: list[str]) -> bool:
    ready = balancer.ready(server)

    def read(output: str, name: str) -> Rotation:
        return balancer.read_ready(output, name, server)

    begun = monotonic()
    try:
        while True:
            now = _ask(state, balancers, ready, read)
            wait = balancer.returned(now, server, waited=monotonic() - begun, limit=_RETURN)
            if wait.outcome == "done":
                return True
            if wait.outcome == "gave up":
                return _failed(
                    host, f"{wait.said}; it answers on the host itself: look at the network and its firewall"
                )
            gevent.sleep(_INTERVAL)
    except BarewindError as error:
        return _failed(host, str(error))


def _undo(state: State, server: str, balancers: list[str]) -> None:
    """Put a server back wherever a balancer can be reached."""
    for name in balancers:
        try:
            _ask(state, [name], balancer.ready(server), balancer.read)
        except BarewindError as error:
            logger.error(str(error))


def _ask(state: State, balancers: list[str], command: str, read: Reader) -> dict[str, Rotation]:
    """Run a command on every balancer at the same time."""

    def one(name: str) -> Rotation | BarewindError:
        found = state.inventory.get_host(name)
        answer = run(state, found, command)
        if answer.problem:
            return BarewindError(f"{name}: the balancer does not answer ({answer.problem}); mend it, then deploy again")
        try:
            return read(answer.output, name)
        except BarewindError as error:
            return error

    found = dict(zip(balancers, Pool(len(balancers) or 1).map(one, balancers), strict=True))
    errors = [str(answer) for answer in found.values() if isinstance(answer, BarewindError)]
    if errors:
        raise BarewindError("; ".join(errors))
    return {name: answer for name, answer in found.items() if isinstance(answer, Rotation)}


def _failed(host: Host, what: str) -> bool:
    logger.error(f"{host.print_prefix}{host.name}: {what}")
    return False
