"""A host leaves the balancers and returns: done from the host's own turn, on every balancer, whether in this run or not."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from time import monotonic
from typing import Literal
from weakref import WeakKeyDictionary

import gevent
from gevent.pool import Pool
from pyinfra import logger
from pyinfra.api import FunctionCommand, Host, State, operation

from barewind import balancer, draining
from barewind.balancer import Rotation
from barewind.draining import Drain
from barewind.errors import BarewindError
from barewind.operations.shell import run

_INTERVAL = 1.0  # seconds between looks
_AGAIN = 0.2  # seconds between the two that find nothing in flight
_SAY = 15.0  # seconds between two lines about the same wait
_SETTLE = 60  # seconds until every server's first health check has ended
_RETURN = 120  # seconds; two health checks and a slow start take less

Reader = Callable[[str, str], Rotation]
Stage = Literal["leaving", "out", "back"]

# What this run has done to each host: whoever ends it early needs to know.
moved: WeakKeyDictionary[Host, Stage] = WeakKeyDictionary()
# The balancers that kept a host out already when it began to leave: they go on doing so if it stays.
_kept_out: WeakKeyDictionary[Host, frozenset[str]] = WeakKeyDictionary()


@operation(is_idempotent=False)
def taken_out(server: str, balancers: list[str], drain: Drain) -> Generator[FunctionCommand, None, None]:
    """Have no balancer send requests to a server, and wait until those in flight have ended.

    If they do not end in time, it goes by the policy: on "abort" the server gets requests again and the host fails, untouched.

    + server: name of the server
    + balancers: hosts that balance
    + drain: time limit and policy

    **Example:**

    .. code:: python

        taken_out(name="Leave the balancers", server="gpu-h1", balancers=["lb1", "lb2"], drain=Drain(timeout=2100))
    """
    yield FunctionCommand(take_out, (), {"server": server, "balancers": balancers, "drain": drain})


@operation(is_idempotent=False)
def returned(server: str, balancers: list[str]) -> Generator[FunctionCommand, None, None]:
    """Have every balancer that knows a server send it requests, and wait until they do.

    + server: name of the server
    + balancers: hosts that balance

    **Example:**

    .. code:: python

        returned(name="Return to the balancers", server="gpu-h1", balancers=["lb1", "lb2"])
    """
    yield FunctionCommand(put_back, (), {"server": server, "balancers": balancers})


def look(state: State, balancers: list[str]) -> dict[str, Rotation]:
    """What every balancer does with its servers.

    Raises:
        BarewindError: a balancer does not answer, or not as expected.
    """
    return _ask(state, balancers, balancer.rotation(), balancer.read)


def take_out(state: State, host: Host, server: str, balancers: list[str], drain: Drain) -> bool:
    """Drain a server; False, and said so, when it did not leave, and then every balancer does with it what it did before."""
    try:
        now, problem = _free_to_go(state, balancers, drain)
    except BarewindError as error:
        now, problem = {}, str(error)
    if problem:
        return _failed(host, f"{problem}. The host was not touched")
    _kept_out[host] = frozenset(name for name, found in now.items() if balancer.kept_out([found], server))
    moved[host] = "leaving"
    try:
        problem = _drain(state, host, server, balancers, drain)
    except BarewindError as error:
        problem = str(error)
    if not problem:
        moved[host] = "out"
        return True
    stay(state, host, server, balancers)
    before = "Its requests go on" if balancer.serving(now.values(), server) else "It gets none, as before"
    return _failed(host, f"{problem}. {before}, the host was not touched")


def stay(state: State, host: Host, server: str, balancers: list[str]) -> None:
    """Put a server that was about to leave back on the balancers that had it in; those that cannot be reached are told of."""
    moved.pop(host, None)
    kept_out = _kept_out.pop(host, frozenset())
    for name in (one for one in balancers if one not in kept_out):
        try:
            _ask(state, [name], balancer.ready(server), balancer.read)
        except BarewindError as error:
            logger.error(str(error))


def hold(state: State, host: Host, server: str, balancers: list[str]) -> None:
    """Have every balancer that can be reached send a server nothing more; its requests in flight end where they are.

    Raises:
        BarewindError: a balancer cannot be told.
    """
    moved[host] = "out"
    problems = []
    for name in balancers:
        try:
            _ask(state, [name], balancer.drain(server), lambda output, lb: balancer.read_drained(output, lb, server))
        except BarewindError as error:
            problems.append(str(error))
    if problems:
        raise BarewindError("; ".join(problems))


def weigh(state: State, wanted: Mapping[str, Mapping[str, int]]) -> None:
    """Have each balancer give servers weights; every one that can be told is, though others cannot.

    Raises:
        BarewindError: a balancer cannot be told.
    """
    problems = []
    for name, weights in wanted.items():
        try:
            _ask(state, [name], balancer.weigh(weights), lambda output, lb: balancer.read_weighed(output, lb, weights))  # noqa: B023 - called before the next
        except BarewindError as error:
            problems.append(str(error))
    if problems:
        raise BarewindError("; ".join(problems))


def empty(state: State, host: Host, server: str, balancers: list[str], drain: Drain) -> None:
    """Wait until a server that is to stay out whatever happens has no requests any more, as long as its policy says.

    Raises:
        BarewindError: a balancer cannot be told, or something puts the server back.
    """
    problem = _drain(state, host, server, balancers, drain)
    if problem:
        raise BarewindError(problem)


def _free_to_go(state: State, balancers: list[str], drain: Drain) -> tuple[dict[str, Rotation], str]:
    """What every balancer does now, and why nobody may leave: one would have no server left, or the group too few.

    Health checks that have not ended yet are waited for, and hosts that are only down for a moment.
    """
    begun = monotonic()
    while True:
        now = look(state, balancers)
        waited = monotonic() - begun
        wait = balancer.settled(now, waited=waited, limit=_SETTLE)
        if wait.outcome == "gave up":
            return now, wait.said
        few = draining.too_few(now, drain)
        if wait.outcome == "done" and (not few or waited >= _SETTLE):
            return now, few or draining.emptying(now, drain)
        gevent.sleep(_INTERVAL)


def _drain(state: State, host: Host, server: str, balancers: list[str], drain: Drain) -> str:
    """Why a server cannot be taken; empty once it can."""
    command = balancer.drain(server)

    def read(output: str, name: str) -> Rotation:
        return balancer.read_drained(output, name, server)

    begun, said, told = monotonic(), "", 0.0
    quiet = False
    while True:
        now = _ask(state, balancers, command, read)
        wait = balancer.drained(now, server, waited=monotonic() - begun, limit=drain.timeout)
        then = draining.decide(wait, now, server, drain)
        if then.step == "give up":
            return then.said
        # What one of HAProxy's threads was just giving to the server is counted a moment later: two looks must agree.
        if then.step == "go on" and wait.outcome == "done" and not quiet:
            quiet = True
            gevent.sleep(_AGAIN)
            continue
        quiet = False
        if then.step == "go on":
            if then.said:
                logger.warning(f"{host.print_prefix}{host.name}: {then.said}")
            return ""
        if wait.said != said and monotonic() - told > _SAY:
            host.log(then.said)
            said, told = wait.said, monotonic()
        gevent.sleep(_INTERVAL)


def put_back(state: State, host: Host, server: str, balancers: list[str]) -> bool:
    """Return a server; False, and said so, when it does not get requests on every balancer that has it."""
    ready = balancer.ready(server)

    def read(output: str, name: str) -> Rotation:
        return balancer.read_ready(output, name, server)

    begun = monotonic()
    try:
        while True:
            now = _ask(state, balancers, ready, read)
            wait = balancer.returned(now, server, waited=monotonic() - begun, limit=_RETURN)
            if wait.outcome == "done":
                if host in moved:
                    moved[host] = "back"
                return True
            if wait.outcome == "gave up":
                return _failed(
                    host, f"{wait.said}; it answers on the host itself: look at the network and its firewall"
                )
            gevent.sleep(_INTERVAL)
    except BarewindError as error:
        return _failed(host, str(error))


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
