"""What light hosts have before their first boot besides what every host has, and what each takes of its machine."""

from __future__ import annotations

from pathlib import Path

from lab import paths, topology
from lab.errors import LabError
from lab.packages import light

# Debian packages that a deploy would bring, and that Docker's stand-in needs: apt on light hosts knows the lab's packages only.
PACKAGES = ("nftables", "curl", "runc", "tini", "python3-apt")
MIB = 100  # of memory each: 48 with an engine that serves, 10 for its shim, and what a deploy runs there
_SPARE_MIB = 2048  # for `services`, a balancer, a controller

File = tuple[str, int]  # content, mode

_SOURCES = "# Empty: this host knows the lab's own packages only.\n"
_PIN = """\
Package: docker.io
Pin: version {version}
Pin-Priority: 1001
"""


def files(key: str) -> dict[str, File]:
    """Files of such a host: path -> content and mode. `key`: public key of the lab's package repositories."""
    return {
        "/etc/apt/sources.list": (_SOURCES, 0o644),
        "/etc/apt/sources.list.d/lab.list": (
            f"deb [signed-by=/etc/apt/keyrings/lab.asc] {topology.REPOSITORIES}/light/ /\n",
            0o644,
        ),
        "/etc/apt/preferences.d/lab": (_PIN.format(version=light.package().version), 0o644),
        "/etc/apt/keyrings/lab.asc": (key, 0o644),
    }


def options() -> list[str]:
    """Options of `docker create`: what all light hosts share with their machine, read-only."""
    return [
        *("--volume", f"{layers()}:{light.LIBRARY}/layers:ro"),
        *("--volume", f"{paths.cache()}/models:{topology.LIGHT_MODELS}:ro"),
    ]


def layers() -> Path:
    """Folder in the cache with the unpacked layers of the stand-in engines' images."""
    return paths.cache() / "layers"


def most(available_mib: int, running: int) -> int:
    """How many light hosts a machine carries that has this much memory left beside those that run."""
    return running + max(0, available_mib - _SPARE_MIB) // MIB


def available_mib() -> int:
    """Memory of this machine that is free or can be made so."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) // 1024
    raise LabError("/proc/meminfo has no MemAvailable; the lab needs Linux")


def check(wanted: int, running: int) -> None:
    """Refuse more light hosts than the memory carries; LabError says how many it does."""
    available = available_mib()
    fits = most(available, running)
    if wanted > running and wanted > fits:
        raise LabError(
            f"{wanted} light hosts need {wanted * MIB / 1024:.0f} GiB of memory, {MIB} MiB each; "
            f"{available / 1024:.0f} GiB are left: `--light {min(fits, topology.MAX_LIGHT)}` at most"
        )
