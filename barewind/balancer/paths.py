"""Which methods and paths reach an engine; everything else ends at the balancer."""

from __future__ import annotations

from collections.abc import Iterable

from barewind.engines.base import ApiPath, Engine

# The balancer answers this itself: an engine's own says nothing about the fleet.
HEALTH = ApiPath("GET", "/health")


def passed_on(engines: Iterable[Engine], added: Iterable[str]) -> list[ApiPath]:
    """What passes to engines: what clients may use of each of them, and what `endpoint_paths` adds.

    Where engines differ it is all that some of them offers: a fleet that moves from one engine to another would otherwise refuse
    what half of it serves. An engine that lacks a path says so itself, and none of these is an admin path of any engine here.
    """
    fleet = list(engines)
    paths = [path for engine in fleet for path in engine.client_paths] + [ApiPath.of(text) for text in added]
    return [
        path for path in dict.fromkeys(paths) if path != HEALTH and not any(one.is_admin(path.path) for one in fleet)
    ]


def refused(engines: Iterable[Engine], added: Iterable[str]) -> list[str]:
    """Those of `endpoint_paths` that no key opens, each with the reason."""
    fleet = list(engines)
    reasons = []
    for text in added:
        path = ApiPath.of(text).path
        owners = [engine.name for engine in fleet if engine.is_admin(path)]
        if owners:
            reasons.append(
                f"'{text}' shows or changes the inside of {' and '.join(sorted(owners))}: nothing opens it to clients; use it on "
                "the host itself, over SSH, and remove it here"
            )
        elif path == HEALTH.path:
            reasons.append(f"'{text}': the balancer answers {HEALTH.path} itself; remove it")
    return reasons
