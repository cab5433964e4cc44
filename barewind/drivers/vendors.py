"""Every vendor of accelerators, by the catalog's name."""

from __future__ import annotations

from barewind import catalog
from barewind.drivers.amd.vendor import AMD
from barewind.drivers.base import Vendor
from barewind.drivers.nvidia.vendor import NVIDIA
from barewind.spec.keys import EngineSpec

VENDORS = {vendor.name: vendor for vendor in (NVIDIA, AMD)}


def vendor_of(spec: EngineSpec) -> Vendor | None:
    """The vendor of a host's accelerators; None where there are none."""
    return VENDORS.get(catalog.accelerators()[spec.accelerator].vendor)
