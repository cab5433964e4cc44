"""The catalog's part about vendors of accelerators: repositories, packages, how a container gets at the cards."""

from __future__ import annotations

from functools import cache
from typing import Any

from pydantic import Field

from barewind.catalog.entries import Entry, Model, Names, Part, checked, load

FILE = "vendors.yaml"


class Repository(Part):
    """An apt repository: its source line, the file of its key (in catalog/keys/) and that key's fingerprint."""

    line: str
    key: str
    fingerprint: str


class Access(Part):
    """One way for a container to get at the accelerators: options of `docker run`, runtimes that Docker must know for it.

    `unprivileged` are the options in place of `options` for a container whose user is not root; None where they are the same.
    `cards` are those of the options that give it all accelerators.
    """

    options: Names
    unprivileged: Names | None = None
    cards: Names = ()
    runtimes: dict[str, dict[str, Any]] = Field(default_factory=dict)


class Vendor(Entry):
    """A vendor of accelerators.

    `device_nodes` are the accelerators' files in /dev (patterns of the shell), which a container must be able to open.
    `image_software` is the software in an image whose version asks for a driver (the accelerators' `driver_floor` says for
    which), `driver_key` the key of the group data that names the driver. `image_words` are patterns of words in the tags of
    images that are built for the vendor's accelerators, `image_version` of those that tell the software's version: its groups are
    the major and the minor version. `packages` are for the vendor's own code to read.
    """

    repositories: dict[str, Repository] = Field(default_factory=dict)
    containers: dict[str, Access] = Field(min_length=1)
    device_nodes: Names = ()
    image_software: str | None = None
    driver_key: str = ""
    image_words: Names = ()
    image_version: str | None = None
    packages: dict[str, Any] = Field(default_factory=dict)


@cache
def vendors() -> dict[str, Vendor]:
    """Every known vendor by its short name (nvidia, amd)."""
    return load(FILE, Vendor)


def vendor_packages(vendor: str, model: type[Model]) -> Model:
    """A vendor's packages, in the shape that its own code gives them.

    Raises:
        BarewindError: a key is missing, unknown or wrong.
    """
    return checked(FILE, vendor, vendors()[vendor].packages, model)
