"""Keys of clients: balancers take away what a client shows, so that engines behind them cannot ask for one too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from barewind.engines import ENGINES
from barewind.spec.keys import BalancerSpec, EngineSpec


def asked_twice(engines: Iterable[EngineSpec], balancers: Iterable[BalancerSpec]) -> Iterator[tuple[str, list[str]]]:
    """A problem per variable with which engines would refuse whomever a balancer has let in, and the hosts that have it."""
    asking = [balancer.host for balancer in balancers if not balancer.endpoint_open]
    if not asking:
        return
    hosts: dict[str, list[str]] = {}
    for spec in engines:
        variable = ENGINES[spec.engine].api_key_variable
        if variable is not None and variable in spec.engine_secrets:
            hosts.setdefault(variable, []).append(spec.host)
    for variable, asked in hosts.items():
        yield (
            f"key 'engine_secrets': with {variable} engines ask for a key, and balancers with endpoint_open = False "
            f"({asking[0]}) show them none, so that every client would be refused; leave {variable} out: keys of "
            "balancers say who may ask, and engines answer balancers alone; or let clients show the engines' key: "
            "endpoint_open = True",
            asked,
        )
