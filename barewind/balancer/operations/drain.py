"""Draining and undraining engines of a host: from the host's own turn, on every balancer, whether it is in the run or not."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Sequence

from gevent.pool import Pool
from pyinfra.api import FunctionCommand, Host, State, operation

from barewind.balancer.drain import Drain
from barewind.balancer.operations.balancers import Balancers


@operation(is_idempotent=False)
def drained(balancers: Balancers, engines: Sequence[str], drain: Drain) -> Generator[FunctionCommand, None, None]:
    """Have no balancer send requests to engines of the host, and wait until those in flight have ended.

    If they do not end in time, it goes by the policy: on "abort" they get requests again and the host fails, untouched.

    + balancers: those of the fleet
    + engines: names of those of the host
    + drain: time limit and policy

    **Example:**

    .. code:: python

        drained(name="Drain", balancers=Balancers(state, ["lb1", "lb2"]), engines=["gpu-h1"], drain=Drain(timeout=2100))
    """
    yield FunctionCommand(_drain, (), {"balancers": balancers, "engines": engines, "drain": drain})


@operation(is_idempotent=False)
def undrained(
    balancers: Balancers, engines: Sequence[str], together: Collection[str] = ()
) -> Generator[FunctionCommand, None, None]:
    """Have every balancer that knows engines of the host send them requests, and wait until they do.

    + balancers: those of the fleet
    + engines: names of those of the host
    + together: engines that are undrained at the same time

    **Example:**

    .. code:: python

        undrained(name="Undrain", balancers=Balancers(state, ["lb1", "lb2"]), engines=["gpu-h1"])
    """
    yield FunctionCommand(_undrain, (), {"balancers": balancers, "engines": engines, "together": together})


def _drain(state: State, host: Host, balancers: Balancers, engines: Sequence[str], drain: Drain) -> bool:
    del state  # pyinfra hands it to every function that asks for the host
    return _all(engines, lambda name: balancers.drain(host, name, drain))


def _undrain(state: State, host: Host, balancers: Balancers, engines: Sequence[str], together: Collection[str]) -> bool:
    del state
    return _all(engines, lambda name: balancers.undrain(host, name, together))


def _all(engines: Sequence[str], do: Callable[[str], bool]) -> bool:
    """Do something for engines of a host at the same time; whether it was done for all. Whoever ends this ends it for each."""
    first, *others = engines
    pool = Pool(max(1, len(others)))
    try:
        beside = [pool.spawn(do, name) for name in others]
        done = do(first)
        return all([done, *(greenlet.get() for greenlet in beside)])
    finally:
        pool.kill()
