"""Whether NVIDIA's drivers can be had for a host's operating system and kernel."""

from __future__ import annotations

from collections.abc import Iterator

from packaging.version import Version

from barewind.drivers.model import EXTERNAL, Finding, System
from barewind.drivers.nvidia.packages import packages
from barewind.spec.keys import EngineSpec


def unpublished(spec: EngineSpec, system: System) -> Iterator[Finding]:
    """What keeps the driver of group data from being installed: no packages, a key that is not there, a kernel too new for it."""
    known = packages()
    names = known.systems.get(system.name)
    if names is None:
        yield f"NVIDIA publishes no drivers that Barewind knows of for {system.name}", EXTERNAL
        return
    if names.own_key is not None and "nvidia" not in spec.repository_keys:
        yield (
            f"NVIDIA signs its packages for {system.name} with a key that does not come with Barewind",
            f"get it from {names.own_key}, ASCII-armored, and name it: repository_keys = {{'nvidia': 'FILE'}}; or {EXTERNAL}",
        )
    if any(unbuilt.covers(system.kernel, spec.nvidia_driver) for unbuilt in known.kernels):
        newest = max((unbuilt.before for unbuilt in known.kernels), key=Version)
        yield (
            f"driver {spec.nvidia_driver} does not build for kernel {system.kernel}",
            f"set nvidia_driver to one of {newest} or newer; or {EXTERNAL}",
        )
