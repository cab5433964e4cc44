"""Spec -> driver plan."""

from __future__ import annotations

from barewind import catalog
from barewind.drivers import DriverPlan, System, amd, nvidia
from barewind.spec import EngineSpec


def driver_plan(spec: EngineSpec, system: System) -> DriverPlan | None:
    """What a host with accelerators shall have; None where the site keeps its own drivers, or where there are none.

    Raises:
        BarewindError: a repository's key cannot be read, or is not the vendor's.
    """
    vendor = catalog.accelerators()[spec.accelerator].vendor
    if spec.accelerator_drivers == "external" or vendor == "none":
        return None
    return nvidia.plan(spec, system) if vendor == "nvidia" else amd.plan(spec, system)
