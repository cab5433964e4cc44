"""How an engine's container gets at its host's accelerators.

Read from the catalog rather than asked of the vendors' code in drivers/: the plan of a container, and so a release's id, must
not hang on how drivers are installed and looked at, which happens floors above.
"""

from __future__ import annotations

from barewind import catalog
from barewind.catalog.vendors import Access
from barewind.spec.keys import EngineSpec

_NONE = Access(options=())


def device_options(spec: EngineSpec) -> tuple[str, ...]:
    """Options of `docker run` by which a container gets at the accelerators; none without any.

    Where an engine has some of them only, the options that give all are left out: the host adds its own at each start.
    """
    way = access(spec)
    options = way.options if way.unprivileged is None or not spec.container_hardening else way.unprivileged
    return tuple(option for option in options if not (spec.has_part and option in way.cards))


def device_nodes(spec: EngineSpec) -> tuple[str, ...]:
    """The accelerators' files in /dev, as patterns of the shell; none without any."""
    accelerator = catalog.accelerators()[spec.accelerator]
    return () if accelerator.is_cpu else catalog.vendors()[accelerator.vendor].device_nodes


def access(spec: EngineSpec) -> Access:
    """Options of `docker run`, and the runtimes that Docker must know for them; without accelerators, neither.

    A vendor with several ways has a key VENDOR_container_access in the group data that says which.
    """
    accelerator = catalog.accelerators()[spec.accelerator]
    if accelerator.is_cpu:
        return _NONE
    ways = catalog.vendors()[accelerator.vendor].containers
    return ways[getattr(spec, f"{accelerator.vendor}_container_access", next(iter(ways)))]
