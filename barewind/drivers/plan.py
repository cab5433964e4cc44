"""Spec -> driver plan."""

from __future__ import annotations

from barewind.drivers.model import DriverPlan, Finding, System
from barewind.drivers.vendors import vendor_of
from barewind.spec.keys import EngineSpec


def driver_plan(spec: EngineSpec, system: System) -> DriverPlan | None:
    """What a host with accelerators shall have; None where the site keeps its own drivers, or where there are none.

    Raises:
        BarewindError: a repository's key cannot be read, or is not the vendor's.
        KeyError: the vendor has no packages for that system.
    """
    vendor = vendor_of(spec)
    if vendor is None or spec.accelerator_drivers == "external":
        return None
    return vendor.plan(spec, system)


def unpublished(spec: EngineSpec, system: System) -> list[Finding]:
    """What keeps a host's drivers from being installed on its system; nothing where the site keeps its own drivers."""
    vendor = vendor_of(spec)
    if vendor is None or spec.accelerator_drivers == "external":
        return []
    return list(vendor.unpublished(spec, system))
