"""apt packages by version: what is missing, how it is installed and held. Pure: facts in, shell commands out."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TypedDict

LOCK_TIMEOUT = 300  # seconds to wait for unattended upgrades to let go of the package database
# needrestart must not restart services (Docker's containers with them) on its own account.
APT = f"DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l apt-get -q -y -o DPkg::Lock::Timeout={LOCK_TIMEOUT}"


class Installed(TypedDict):
    """An installed package as the facts tell of it."""

    version: str
    held: bool


@dataclass(frozen=True)
class Package:
    """A package that shall be there. `version` is a pattern; apt understands one whose only `*` comes last."""

    name: str
    version: str = "*"

    @classmethod
    def parse(cls, text: str) -> Package:
        """`docker-ce=5:28.5.2-*` or `docker.io`."""
        return cls(*text.split("=", 1))

    def is_in(self, installed: Mapping[str, Installed]) -> bool:
        """Whether it is installed in a version that will do."""
        found = installed.get(self.name)
        return found is not None and fnmatchcase(found["version"], self.version)

    def __str__(self) -> str:
        return self.name if self.version.startswith("*") else f"{self.name}={self.version}"


def missing(wanted: Iterable[Package], installed: Mapping[str, Installed]) -> list[Package]:
    """The packages that are not there, or in another version."""
    return [package for package in wanted if not package.is_in(installed)]


def unheld(names: Iterable[str], installed: Mapping[str, Installed]) -> list[str]:
    """Those that an upgrade could still change; one that is not installed yet is held after it is."""
    return [name for name in names if not (name in installed and installed[name]["held"])]


def update() -> str:
    """Fetch what the repositories offer."""
    return f"{APT} update"


def install(packages: Iterable[Package]) -> str:
    """Install exactly these versions, older ones and held ones too; packages they replace go in the same step."""
    names = shlex.join(str(package) for package in packages)
    return f"{APT} install --no-install-recommends --allow-downgrades --allow-change-held-packages {names}"


def unhold(names: Iterable[str]) -> str:
    """Let packages be changed or removed."""
    return f"apt-mark -qq unhold {shlex.join(names)}"


def hold(names: Iterable[str]) -> str:
    """Keep packages from being upgraded by anyone but us."""
    return f"apt-mark -qq hold {shlex.join(names)}"
