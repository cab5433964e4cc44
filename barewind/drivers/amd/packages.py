"""AMD's packages per operating system, as catalog/vendors.yaml has them."""

from __future__ import annotations

from functools import cache

from barewind.catalog.entries import Names, Part
from barewind.catalog.vendors import vendor_packages


class System(Part):
    """AMD's suite for one operating system, and its container toolkit's packages where it has any."""

    suite: str
    headers: str
    toolkit: Names


class Packages(Part):
    """The kernel driver's packages, the tools', and what they are called where."""

    systems: dict[str, System]
    driver: Names
    tools: Names


@cache
def packages() -> Packages:
    """What the catalog's entry says."""
    return vendor_packages("amd", Packages)
