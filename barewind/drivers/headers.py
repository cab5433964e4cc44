"""Kernel headers' packages of a host: those of the kernel that runs, and those that come with each kernel after it. Pure."""

from __future__ import annotations

import re

from barewind.catalog.kernels import kernels
from barewind.drivers.model import System
from barewind.hosts.packages import Package
from barewind.versions import older

_RELEASE = re.compile(r"(?P<version>\d+\.\d+)[^-]*(?:-\d[^-]*)*-(?P<flavour>[a-z][\w-]*)")  # 6.14.0-33-generic
_IMAGE = re.compile(r"linux-image-(?P<kind>[a-z][\w.-]*)")  # not linux-image-6.8.0-88-generic, which is one kernel
_NO_KERNEL = ("unsigned-", "extra-", "uc-")


def helpers(system: System, ordinary: str) -> tuple[Package, ...]:
    """Packages of headers: DKMS builds a driver for each kernel whose headers are there, when it comes.

    + ordinary: the package that the distribution's ordinary kernel goes with
    """
    return tuple(map(Package, dict.fromkeys((f"linux-headers-{system.kernel}", *following(system, ordinary)))))


def following(system: System, ordinary: str) -> tuple[str, ...]:
    """The packages that bring headers with each new kernel: of the kernels' own packages that are installed, else by the flavour
    of the kernel that runs."""
    installed = system.accelerators["packages"] if system.accelerators is not None else {}
    kinds = [match["kind"] for name in installed if (match := _IMAGE.fullmatch(name))]
    kinds = [kind for kind in kinds if not kind.startswith(_NO_KERNEL) and not kind.endswith("-dbg")]
    if kinds:
        return tuple(f"linux-headers-{kind}" for kind in sorted(kinds))
    return (_by_flavour(system, ordinary),)


def _by_flavour(system: System, ordinary: str) -> str:
    distribution, _, number = system.name.partition(" ")
    known, release = kernels().get(distribution), _RELEASE.fullmatch(system.kernel)
    if known is None or release is None or release["flavour"] not in known.flavours:
        return ordinary
    flavour, first = release["flavour"], known.first.get(number)
    newer = flavour in known.enabled and first is not None and older(first, release["version"])
    return f"linux-headers-{flavour}" + (f"-hwe-{number}" if newer else "")
