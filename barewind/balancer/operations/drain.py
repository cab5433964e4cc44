"""Draining and undraining engines of a host: from the host's own turn, on every balancer, whether it is in the run or not."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Sequence

from gevent.pool import Pool
from pyinfra.api import FunctionCommand, Host, State, operation

from barewind.balancer.drain import Drain
from barewind.balancer.operations.balancers import Balancers


@operation(is_idempotent=False)
def drained(
    balancers: Balancers, drain: Drain, engines: Sequence[str] | None = None
) -> Generator[FunctionCommand, None, None]:
    """Have no balancer send requests to engines of the host, and wait until those in flight have ended.

    If they do not end in time, it goes by the policy: on "abort" they get requests again and the host fails, untouched.

    + balancers: those of the fleet
    + drain: time limit and policy
    + engines: names of those of the host; None: it has one, of its own name

    **Example:**

    .. code:: python

        drained(name="Drain", balancers=Balancers(state, ["lb1", "lb2"]), drain=Drain(timeout=2100))
    """
    yield FunctionCommand(_drain, (), {"balancers": balancers, "drain": drain, "engines": engines})


@operation(is_idempotent=False)
def undrained(
    balancers: Balancers, together: Collection[str] = (), engines: Sequence[str] | None = None
) -> Generator[FunctionCommand, None, None]:
    """Have every balancer that knows engines of the host send them requests, and wait until they do.

    + balancers: those of the fleet
    + together: engines that are undrained at the same time
    + engines: names of those of the host; None: it has one, of its own name

    **Example:**

    .. code:: python

        undrained(name="Undrain", balancers=Balancers(state, ["lb1", "lb2"]))
    """
    yield FunctionCommand(_undrain, (), {"balancers": balancers, "together": together, "engines": engines})


def _drain(state: State, host: Host, balancers: Balancers, drain: Drain, engines: Sequence[str] | None) -> bool:
    del state  # pyinfra hands it to every function that asks for the host
    return _all(host, engines, lambda name: balancers.drain(host, drain, name))


def _undrain(
    state: State, host: Host, balancers: Balancers, together: Collection[str], engines: Sequence[str] | None
) -> bool:
    del state
    return _all(host, engines, lambda name: balancers.undrain(host, together, name))


def _all(host: Host, engines: Sequence[str] | None, do: Callable[[str], bool]) -> bool:
    """Do something for engines of a host at the same time; whether it was done for all. Whoever ends this ends it for each."""
    first, *others = engines or [host.name]
    pool = Pool(max(1, len(others)))
    try:
        beside = [pool.spawn(do, name) for name in others]
        done = do(first)
        return all([done, *(greenlet.get() for greenlet in beside)])
    finally:
        pool.kill()
