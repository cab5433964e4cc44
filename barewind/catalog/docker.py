"""The catalog's part about Docker Engine: where it comes from, of which packages it is made."""

from __future__ import annotations

from functools import cache

from barewind.catalog.entries import Entry, Names, Part, load
from barewind.catalog.vendors import Repository


class System(Part):
    """Docker's distribution and suite for one operating system.

    `beside` are packages that the distribution's own needs, `packaged` is its version, the lowest where it moves.
    """

    distribution: str
    suite: str
    beside: Names = ()
    packaged: str | None = None


class Docker(Entry):
    """Docker Engine of its vendor and of the distribution."""

    repositories: dict[str, Repository]
    systems: dict[str, System]
    vendor: Names
    distribution: Names


@cache
def docker() -> Docker:
    """What docker.yaml holds."""
    return load("docker.yaml", Docker)["docker"]
