"""apt packages by version: which are missing, and the shell commands that install and hold them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TypedDict

LOCK_TIMEOUT = (
    300  # seconds to wait until others (unattended upgrades, apt-daily at boot) let go of apt's and dpkg's locks
)
WAITS = "waits until another package manager has ended"
# needrestart must not restart services (Docker's containers with them) on its own account.
APT = "env LC_ALL=C DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l apt-get -q -y"

# apt's own option (DPkg::Lock::Timeout) covers dpkg's database alone: not lists/lock, not archives/lock, nor dpkg behind
# apt-mark. So a command that met a lock is run again. Its errors are collected meanwhile; its other output is not held back.
_PATIENT = """( end=$(($(date +%s) + {timeout})); told=; errors=$(mktemp)
while :; do
  code=0; {{ {command}
  }} 2> "$errors" || code=$?
  [ $code -ne 0 ] && held=$(grep -m 1 -E '{held}' "$errors") && [ "$(date +%s)" -lt $end ] || break
  [ "$held" = "$told" ] || echo "{waits} (for up to {timeout} s): $held"
  told=$held; sleep 2
done
cat "$errors" >&2; rm -f "$errors"; exit $code )"""
_HELD = "Could not get lock|[Uu]nable to lock|Unable to acquire the dpkg frontend lock|was locked by another process"


class Installed(TypedDict):
    """An installed package, as facts have it."""

    version: str
    held: bool


@dataclass(frozen=True)
class Package:
    """A package that shall be there. `version` is a pattern; apt understands one whose only `*` comes last."""

    name: str
    version: str = "*"

    @classmethod
    def parse(cls, text: str) -> Package:
        """The package that a text such as `docker-ce=5:28.5.2-*` or `docker.io` means."""
        return cls(*text.split("=", 1))

    def is_in(self, installed: Mapping[str, Installed]) -> bool:
        """Whether the package is installed in a version that matches."""
        package = installed.get(self.name)
        return package is not None and fnmatchcase(package["version"], self.version)

    def __str__(self) -> str:
        return self.name if self.version.startswith("*") else f"{self.name}={self.version}"


def missing(wanted: Iterable[Package], installed: Mapping[str, Installed]) -> list[Package]:
    """The packages that are not installed, or in another version."""
    return [package for package in wanted if not package.is_in(installed)]


def unheld(names: Iterable[str], installed: Mapping[str, Installed]) -> list[str]:
    """Those of the packages that an upgrade could change; what is not installed yet counts, as it must be held afterwards."""
    return [name for name in names if not (name in installed and installed[name]["held"])]


def patient(command: str) -> str:
    """Shell command that runs another again while somebody else holds a lock that it needs, and says who that is.

    Its status is the other's; errors are printed at its end.
    """
    return _PATIENT.format(command=command, timeout=LOCK_TIMEOUT, held=_HELD, waits=WAITS)


def update() -> str:
    """Shell command that fetches the lists of the repositories."""
    return patient(f"{APT} update")


def install(packages: Iterable[Package]) -> str:
    """Shell command that installs exactly these versions, also older or held ones; packages that they replace are removed."""
    names = shlex.join(str(package) for package in packages)
    return patient(f"{APT} install --no-install-recommends --allow-downgrades --allow-change-held-packages {names}")


def unhold(names: Iterable[str]) -> str:
    """Shell command after which packages may be changed or removed."""
    return patient(f"apt-mark -qq unhold {shlex.join(names)}")


def hold(names: Iterable[str]) -> str:
    """Shell command that keeps packages from being upgraded by anybody else."""
    return patient(f"apt-mark -qq hold {shlex.join(names)}")


def query(names: list[str]) -> str:
    """Shell command that lists packages; names may be dpkg's patterns."""
    return f"dpkg-query -W -f '${{db:Status-Abbrev}} ${{Version}} ${{Package}}\\n' {shlex.join(names)}"


def read(lines: list[str]) -> dict[str, Installed]:
    """Output of `query` by package, such as `hi  580.126.09-1 nvidia-driver-cuda`; half-installed packages are left out."""
    installed: dict[str, Installed] = {}
    for line in lines:
        fields = line.split()
        if len(fields) == 3 and len(fields[0]) == 2 and fields[0][1] == "i":
            installed[fields[2]] = {"version": fields[1], "held": fields[0][0] == "h"}
    return installed


def upstream(version: str) -> str | None:
    """The numbers of a package's version, without epoch and revision: 1:580.126.09-1 -> 580.126.09."""
    numbers = re.match(r"(?:\d+:)?(\d+(?:\.\d+)+)", version)
    return numbers[1] if numbers else None
