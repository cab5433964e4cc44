"""The catalog's part about drivers: names of packages and repositories per vendor and operating system."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from barewind.documents import read_yaml
from barewind.errors import BarewindError

Names = tuple[str, ...]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Modules(_Part):
    """Packages of the driver with open and with proprietary kernel modules; `{branch}` is the driver's branch (580)."""

    open: Names
    proprietary: Names


class NvidiaSystem(Modules):
    """Packages of one operating system; `branches` names them anew from a driver branch on."""

    distribution: str
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
        newest = max((one for one in self.branches if one <= branch), default=None)
        modules: Modules = self if newest is None else self.branches[newest]
        return tuple(name.format(branch=branch) for name in getattr(modules, flavour))


class Nvidia(_Part):
    """NVIDIA's driver and container toolkit."""

    keys: dict[str, str]
    sources: dict[str, str]
    pin: Names
    systems: dict[str, NvidiaSystem]
    toolkit: Names
    toolkit_revision: str
    source: str


class AmdSystem(_Part):
    """AMD's suite for one operating system, and its container toolkit's packages where it has any."""

    suite: str
    headers: str
    toolkit: Names


class Amd(_Part):
    """AMD's kernel driver and tools."""

    keys: dict[str, str]
    sources: dict[str, str]
    systems: dict[str, AmdSystem]
    packages: Names
    tools: Names
    source: str


class DockerSystem(_Part):
    """Docker's distribution and suite for one operating system."""

    distribution: str
    suite: str


class Docker(_Part):
    """Docker Engine of the vendor and of the distribution."""

    keys: dict[str, str]
    sources: dict[str, str]
    systems: dict[str, DockerSystem]
    vendor: Names
    distribution: Names
    source: str


class Drivers(_Part):
    """The whole file."""

    nvidia: Nvidia
    amd: Amd
    docker: Docker


@cache
def drivers() -> Drivers:
    """What drivers.yaml holds."""
    try:
        return Drivers.model_validate(read_yaml((resources.files(__package__) / "drivers.yaml").read_text()))
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(str(part) for part in problem["loc"])
        raise BarewindError(
            f"barewind/catalog/drivers.yaml: key '{key}': {problem['msg']}. Correct the entry."
        ) from error
