"""Whether AMD's drivers can be had for a host's operating system."""

from __future__ import annotations

from collections.abc import Iterator

from barewind.drivers.amd.packages import packages
from barewind.drivers.model import EXTERNAL, Finding, System
from barewind.spec.keys import EngineSpec


def unpublished(_: EngineSpec, system: System) -> Iterator[Finding]:
    """What keeps the driver of group data from being installed: no packages."""
    if system.name not in packages().systems:
        yield f"AMD publishes no drivers that Barewind knows of for {system.name}", EXTERNAL
