"""Driver keys that are valid one by one and do not go together, or not with the accelerators: `(key, sentence)`."""

from __future__ import annotations

from collections.abc import Iterator

from barewind import catalog
from barewind.sizing import numbers
from barewind.spec import EngineSpec

_OLDEST_TOOLKIT = "1.18.0"  # the first that keeps the devices' list (CDI) up to date by itself (toolkit documentation)


def conflicts(spec: EngineSpec) -> Iterator[tuple[str, str]]:
    """Every conflict of one host's drivers; a site that keeps its own drivers has none."""
    accelerator = catalog.accelerators()[spec.accelerator]
    if spec.accelerator_drivers == "external":
        return
    if accelerator.vendor == "nvidia":
        if spec.nvidia_modules == "proprietary" and accelerator.architecture == "blackwell":
            yield "nvidia_modules", f"{spec.accelerator} works with open kernel modules only; remove the key"
        if numbers(spec.nvidia_container_toolkit) < numbers(_OLDEST_TOOLKIT):
            yield (
                "nvidia_container_toolkit",
                f"{spec.nvidia_container_toolkit} does not list devices by itself; name {_OLDEST_TOOLKIT} or newer",
            )
