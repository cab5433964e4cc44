"""The vendors' software on a host: kernel modules, fabric manager, container toolkit, packages."""

from __future__ import annotations

import json
import re
from typing import Literal, TypedDict

from barewind.facts.packages import query
from barewind.packages import Installed

_PACKAGES = [
    *("nvidia*", "libnvidia*", "libcuda*", "nvlsm", "cuda-drivers*"),
    *("amdgpu*", "amd-smi*", "rocm*", "amd-container-toolkit"),
    *("docker.io", "docker-ce*", "containerd*", "runc", "haproxy", "linux-headers-*"),
]
_UNITS = ("nvidia-fabricmanager.service", "nvidia-persistenced.service")

SECTIONS = {
    "nvidia_loaded": "head -n 1 /proc/driver/nvidia/version",
    # the kernel's own amdgpu has no version but the kernel's
    "amdgpu_loaded": "[ ! -d /sys/module/amdgpu ] || cat /sys/module/amdgpu/version || uname -r",
    "modinfo": """PATH="$PATH:/usr/sbin:/sbin"
echo "nvidia version=$(modinfo -F version nvidia)"; echo "nvidia license=$(modinfo -F license nvidia)"
echo "amdgpu version=$(modinfo -F version amdgpu)"; echo "amdgpu file=$(modinfo -n amdgpu)"; echo "kernel=$(uname -r)"
""",
    "units": f"systemctl show -p Id -p ActiveState -p UnitFileState {' '.join(_UNITS)}",
    "ib_umad": "[ ! -d /sys/module/ib_umad ] || echo loaded",
    "cdi": "for f in /var/run/cdi/nvidia.yaml /etc/cdi/nvidia.yaml; do "
    'if [ -f "$f" ]; then grep -E \'^ *(- )?name:\' "$f"; break; fi; done',
    "runtimes": "timeout -k 5 20 docker info -f '{{json .Runtimes}}'",
    "packages": query(_PACKAGES),
}


class Module(TypedDict):
    """A kernel module's versions: what runs, and what `modprobe` would load; None where there is none."""

    loaded: str | None
    installed: str | None
    flavour: str | None  # nvidia: "open" or "proprietary"; amdgpu: "dkms" or "kernel"


class Unit(TypedDict):
    """A systemd unit; `enabled` also where it needs no enabling."""

    active: bool
    enabled: bool


class Fabric(Unit):
    """The fabric manager and what it needs on Blackwell: the subnet manager's package and its kernel module."""

    version: str | None
    nvlsm: str | None
    ib_umad: bool


class Toolkit(TypedDict):
    """The NVIDIA Container Toolkit: its version, what its CDI file names, and Docker's runtimes."""

    version: str | None
    cdi_devices: list[str]
    runtimes: list[str]


def read_modules(found: dict[str, list[str]]) -> dict[Literal["nvidia", "amdgpu"], Module]:
    """The vendors' kernel modules."""
    said = dict(line.split("=", 1) for line in found.get("modinfo", []) if "=" in line)
    return {"nvidia": _nvidia(_first(found, "nvidia_loaded"), said), "amdgpu": _amdgpu(found, said)}


def _nvidia(loaded: str, said: dict[str, str]) -> Module:
    known = re.search(r"Kernel Module\D* (\d+(\.\d+)+) ", loaded.replace("x86_64", ""))
    version = said.get("nvidia version", "")
    installed = version if re.fullmatch(r"\d+(\.\d+)+", version) else None
    flavour = None
    if known:
        flavour = "open" if "Open Kernel Module" in loaded else "proprietary"
    elif installed:
        flavour = {"Dual MIT/GPL": "open", "NVIDIA": "proprietary"}.get(said.get("nvidia license", ""))
    return {"loaded": known[1] if known else None, "installed": installed, "flavour": flavour}


def _amdgpu(found: dict[str, list[str]], said: dict[str, str]) -> Module:
    file = said.get("amdgpu file", "")
    dkms = "/updates/" in file or "/extra/" in file
    version = said.get("amdgpu version") or (said.get("kernel", "") if file.startswith("/") else "")
    return {
        "loaded": _first(found, "amdgpu_loaded") or None,
        "installed": version or None,
        "flavour": ("dkms" if dkms else "kernel") if version else None,
    }


def read_units(found: dict[str, list[str]]) -> tuple[Unit, Unit]:
    """The fabric manager's unit, and that of the persistence daemon."""
    blocks = "\n".join(found.get("units", [])).split("\n\n")
    states = [dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in blocks]
    by_name = {state.get("Id"): state for state in states}
    fabric, persistence = (_unit(by_name.get(name, {})) for name in _UNITS)
    return fabric, persistence


def _unit(state: dict[str, str]) -> Unit:
    # "static": the unit has no [Install]; another unit or udev starts it (Ubuntu's persistence daemon)
    enabled = state.get("UnitFileState") in ("enabled", "static")
    return {"active": state.get("ActiveState") == "active", "enabled": enabled}


def read_fabric(found: dict[str, list[str]], packages: dict[str, Installed]) -> Fabric:
    """The fabric manager's package may have the branch in its name (nvidia-fabricmanager-580)."""
    unit, _ = read_units(found)
    managers = [one["version"] for name, one in packages.items() if re.fullmatch(r"nvidia-fabricmanager(-\d+)?", name)]
    return {
        **unit,
        "version": upstream(managers[0]) if managers else None,
        "nvlsm": packages["nvlsm"]["version"] if "nvlsm" in packages else None,
        "ib_umad": _first(found, "ib_umad") == "loaded",
    }


def read_toolkit(found: dict[str, list[str]], packages: dict[str, Installed]) -> Toolkit:
    """The toolkit as it is installed and configured."""
    package = packages.get("nvidia-container-toolkit")
    names = [re.fullmatch(r" *(?:- )?name: *(['\"]?)([\w.:-]+)\1 *", line) for line in found.get("cdi", [])]
    try:
        runtimes = json.loads("".join(found.get("runtimes", [])))
    except (ValueError, RecursionError):  # no Docker, or its daemon is down
        runtimes = None
    return {
        "version": upstream(package["version"]) if package else None,
        "cdi_devices": [name[2] for name in names if name],
        "runtimes": sorted(runtimes) if isinstance(runtimes, dict) else [],
    }


def upstream(version: str) -> str | None:
    """The numbers of a package's version, without epoch and revision: 1:580.126.09-1 -> 580.126.09."""
    known = re.match(r"(?:\d+:)?(\d+(?:\.\d+)+)", version)
    return known[1] if known else None


def _first(found: dict[str, list[str]], section: str) -> str:
    return found[section][0].strip() if found.get(section) else ""
