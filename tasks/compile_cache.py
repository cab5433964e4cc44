"""What the first upgraded host has compiled, for the others of its kind, before they start."""

from __future__ import annotations

from pyinfra import host
from pyinfra.api import deploy

from barewind import compile_cache
from barewind.compile_cache import Cache
from barewind.operations.compile_cache import seeded
from tasks.fleet import EVERY, Hosts, fleet

_SEED = 1800  # seconds


@deploy("Compile cache")
def seed(hosts: Hosts = EVERY) -> None:
    """Have it on engine hosts, where a host that is not one of `hosts` serves the same already."""
    caches = {name: cache for name, plan in fleet().plans.items() if (cache := compile_cache.of(plan)) is not None}
    mine = caches.get(host.name) if host.name in hosts else None
    if mine is None:
        return
    alike: list[Cache] = [cache for cache in caches.values() if cache.key == mine.key]
    givers = [cache for cache in alike if cache.spec.host not in hosts]
    if givers:
        seeded(
            name="Of a host that has compiled it",
            mine=mine,
            takers=[cache for cache in alike if cache.spec.host in hosts],
            givers=givers,
            _timeout=_SEED,
        )
