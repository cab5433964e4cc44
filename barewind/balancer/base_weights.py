"""Base weights: what the servers of a fleet weigh where nobody has moved traffic. Pure.

HAProxy divides the requests in flight by weight. An engine's weight goes by the accelerators that it uses, so that requests take
about equally long on each: of 128 requests (1024 tokens in and out) on eight H200, one engine over all eight makes a token in
25.3 ms, two over four with 64 requests each in 24.7, four over two with 32 each in 28.5 (modelled; docs/traffic.md says how far).

Accelerators of another kind count the same: how much more one carries depends on the load, and who is faster is free sooner, and
gets more of the new requests without a weight that says so.
"""

from __future__ import annotations

from collections.abc import Collection
from fractions import Fraction

from barewind import catalog
from barewind.balancer.servers import WEIGHT
from barewind.engines.sizing import size
from barewind.spec.keys import EngineSpec


def base_weights(engines: Collection[EngineSpec]) -> dict[str, int]:
    """The base weight of each engine's server: 100 for those that use the most accelerators, in proportion for the others.

    None is less than 1. Engines that stand by have one too, for when they get requests.
    """
    used = {engine.name: _accelerators(engine) for engine in engines}
    most = max(used.values(), default=1)
    return {name: max(1, round(WEIGHT * number / most)) for name, number in used.items()}


def _accelerators(engine: EngineSpec) -> Fraction:
    """How many accelerators an engine uses; a host without any counts as one, which its replicas share."""
    if catalog.accelerators()[engine.accelerator].is_cpu:
        return Fraction(1, engine.replicas)
    fit = size(engine).fit
    return Fraction(engine.tensor_parallel * (fit.data_parallel if fit else 1))
