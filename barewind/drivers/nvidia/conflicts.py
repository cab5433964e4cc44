"""Keys about NVIDIA's drivers that do not go together, or not with the accelerators: `(key, sentence)`."""

from __future__ import annotations

from collections.abc import Iterator

from barewind import catalog
from barewind.spec.keys import EngineSpec
from barewind.versions import older

_OLDEST_TOOLKIT = "1.18.0"  # the first that keeps the devices' list (CDI) up to date by itself (toolkit documentation)


def conflicts(spec: EngineSpec) -> Iterator[tuple[str, str]]:
    """Every conflict of one host's drivers."""
    if spec.nvidia_modules == "proprietary" and catalog.accelerators()[spec.accelerator].open_modules:
        yield "nvidia_modules", f"{spec.accelerator} works with open kernel modules only; remove the key"
    if older(spec.nvidia_container_toolkit, _OLDEST_TOOLKIT):
        yield (
            "nvidia_container_toolkit",
            f"{spec.nvidia_container_toolkit} does not list devices by itself; name {_OLDEST_TOOLKIT} or newer",
        )
