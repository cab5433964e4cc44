"""NVIDIA's packages per operating system, as catalog/vendors.yaml has them."""

from __future__ import annotations

import re
from functools import cache
from typing import Literal

from pydantic import Field

from barewind.catalog.entries import Names, Part
from barewind.catalog.vendors import vendor_packages
from barewind.versions import older


class Modules(Part):
    """Packages of the driver with open and with proprietary kernel modules; `{branch}` is the driver's branch (580)."""

    open: Names
    proprietary: Names


class System(Modules):
    """Packages of one operating system; `branches` names them anew from a driver branch on.

    `own_key` is where the repository's key is from, if it is not the one that comes with Barewind.
    """

    distribution: str
    own_key: str | None = None
    components: Names = ()
    revision: str
    branches: dict[int, Modules] = Field(default_factory=dict)
    fabric: Names
    fabric_revision: str
    fabric_loose: Names
    headers: str

    def names(self, version: str, flavour: Literal["open", "proprietary"]) -> Names:
        """Names of the driver's packages at a version."""
        branch = int(version.split(".")[0])
        newest = max((number for number in self.branches if number <= branch), default=None)
        modules: Modules = self if newest is None else self.branches[newest]
        return tuple(name.format(branch=branch) for name in getattr(modules, flavour))


class Unbuilt(Part):
    """Drivers that do not build for a kernel and later ones: from the version `since` (None: the first) to below `before`."""

    kernel: str
    since: str | None = None
    before: str

    def covers(self, kernel: str, driver: str) -> bool:
        """Whether a driver does not build for a kernel, whose version is as `uname -r` prints it."""
        version = re.match(r"\d+\.\d+", kernel)
        if version is None or older(version[0], self.kernel):
            return False
        return older(driver, self.before) and (self.since is None or not older(driver, self.since))


class Packages(Part):
    """The driver's packages per operating system, those of the container toolkit, and what does not build."""

    pin: Names
    kernels: tuple[Unbuilt, ...] = ()
    systems: dict[str, System]
    toolkit: Names
    toolkit_revision: str


@cache
def packages() -> Packages:
    """What the catalog's entry says."""
    return vendor_packages("nvidia", Packages)
