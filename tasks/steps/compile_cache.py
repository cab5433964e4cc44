"""What the first upgraded host has compiled, for the others of its kind: packed before it serves, there before they start."""

from __future__ import annotations

from pyinfra import host
from pyinfra.api import deploy

from barewind.compile_cache.operations import PackedCaches, packed, seeded
from barewind.compile_cache.plan import Cache, cache_of
from barewind.tasks.run import EVERY, Hosts, HostsOf, engine_plan, fleet, once

_SEED = 1800  # seconds


@deploy("Compile cache")
def seed(hosts: Hosts = EVERY) -> None:
    """Have it on engine hosts, where a host that is not one of `hosts` serves the same already."""
    mine = _caches().get(host.name) if engine_plan(hosts) is not None else None
    if mine is None:
        return
    alike = _alike()[mine.key]
    takers = HostsOf(hosts)
    if any(cache.spec.host not in takers for cache in alike):
        seeded(
            name="Of a host that has compiled it", mine=mine, alike=alike, takers=takers, files=_files(), _timeout=_SEED
        )


@deploy("Compile cache")
def pack(hosts: Hosts) -> None:
    """Have it packed on engine hosts that have passed their gate and do not get requests yet."""
    plan = engine_plan(hosts)
    cache = _caches().get(host.name)
    if plan is not None and plan.release is not None and cache is not None:
        packed(
            name="Packed for other hosts",
            cache=cache,
            release=plan.release,
            unit=plan.names.unit,
            container=plan.names.container,
            files=_files(),
            _timeout=_SEED,
        )


@once
def _caches() -> dict[str, Cache]:
    """The cache of every engine host that has one, by name."""
    return {name: cache for name, plan in fleet().hosts.items() if (cache := cache_of(plan)) is not None}


@once
def _alike() -> dict[str, list[Cache]]:
    """By key the caches that may be shared."""
    alike: dict[str, list[Cache]] = {}
    for cache in _caches().values():
        alike.setdefault(cache.key, []).append(cache)
    return alike


@once
def _files() -> PackedCaches:
    return PackedCaches()
