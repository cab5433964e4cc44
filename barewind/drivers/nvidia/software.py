"""NVIDIA's software on a host: kernel module, fabric manager, persistence daemon, container toolkit."""

from __future__ import annotations

import re
from typing import Any, TypedDict, cast

from barewind.drivers import pci
from barewind.drivers.model import AcceleratorFacts, Sections
from barewind.drivers.modules import Modinfo, Module
from barewind.hosts.packages import Installed, upstream

PCI_VENDOR = "10de"
FABRIC_MANAGER = "nvidia-fabricmanager.service"
PERSISTENCED = "nvidia-persistenced.service"
TOOLKIT = "nvidia-container-toolkit"

PACKAGES = ("nvidia*", "libnvidia*", "libcuda*", "nvlsm", "cuda-drivers*")  # patterns of dpkg
SECTIONS = {
    "nvidia_loaded": "head -n 1 /proc/driver/nvidia/version",
    "units": f"systemctl show -p Id -p ActiveState -p UnitFileState {FABRIC_MANAGER} {PERSISTENCED}",
    "ib_umad": "[ ! -d /sys/module/ib_umad ] || echo loaded",
    "cdi": "for f in /var/run/cdi/nvidia.yaml /etc/cdi/nvidia.yaml; do "
    'if [ -f "$f" ]; then grep -E \'^ *(- )?name:\' "$f"; break; fi; done',
}


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
    """The container toolkit: its version, and the devices that its list (CDI) names."""

    version: str | None
    cdi_devices: list[str]


class NvidiaFacts(AcceleratorFacts):
    """Facts of accelerators with those that only NVIDIA's hosts have; `nvswitches` are counted on the PCI bus."""

    nvswitches: int
    fabric: Fabric
    persistenced: Unit
    toolkit: Toolkit


def with_own(facts: AcceleratorFacts) -> NvidiaFacts:
    """Facts of accelerators, as what they are: `read_own` stands beside them."""
    return cast("NvidiaFacts", facts)


def read_own(sections: Sections, packages: dict[str, Installed]) -> dict[str, Any]:
    """The facts that only NVIDIA's hosts have."""
    return {
        "nvswitches": pci.switches(sections.get("pci", []), PCI_VENDOR),
        "fabric": _fabric(sections, packages),
        "persistenced": _unit(sections, PERSISTENCED),
        "toolkit": _toolkit(sections, packages),
    }


def read_module(sections: Sections, modinfo: Modinfo) -> Module:
    """The driver's kernel module; its license tells the open one from the proprietary one."""
    loaded = _first(sections, "nvidia_loaded")
    version = re.search(r"Kernel Module\D* (\d+(\.\d+)+) ", loaded.replace("x86_64", ""))
    installed = modinfo["version"] if re.fullmatch(r"\d+(\.\d+)+", modinfo["version"]) else None
    flavour = None
    if version:
        flavour = "open" if "Open Kernel Module" in loaded else "proprietary"
    elif installed:
        flavour = {"Dual MIT/GPL": "open", "NVIDIA": "proprietary"}.get(modinfo["license"])
    return {"loaded": version[1] if version else None, "installed": installed, "flavour": flavour}


def _unit(sections: Sections, name: str) -> Unit:
    blocks = "\n".join(sections.get("units", [])).split("\n\n")
    states = [dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in blocks]
    state = next((state for state in reversed(states) if state.get("Id") == name), {})
    # "static": the unit has no [Install]; another unit or udev starts it (Ubuntu's persistence daemon)
    enabled = state.get("UnitFileState") in ("enabled", "static")
    return {"active": state.get("ActiveState") == "active", "enabled": enabled}


def _fabric(sections: Sections, packages: dict[str, Installed]) -> Fabric:
    """The fabric manager's package may have the branch in its name (nvidia-fabricmanager-580)."""
    managers = [
        package["version"] for name, package in packages.items() if re.fullmatch(r"nvidia-fabricmanager(-\d+)?", name)
    ]
    return {
        **_unit(sections, FABRIC_MANAGER),
        "version": upstream(managers[0]) if managers else None,
        "nvlsm": packages["nvlsm"]["version"] if "nvlsm" in packages else None,
        "ib_umad": _first(sections, "ib_umad") == "loaded",
    }


def _toolkit(sections: Sections, packages: dict[str, Installed]) -> Toolkit:
    names = [re.fullmatch(r" *(?:- )?name: *(['\"]?)([\w.:-]+)\1 *", line) for line in sections.get("cdi", [])]
    return {
        "version": upstream(packages[TOOLKIT]["version"]) if TOOLKIT in packages else None,
        "cdi_devices": [name[2] for name in names if name],
    }


def _first(sections: Sections, name: str) -> str:
    return sections[name][0].strip() if sections.get(name) else ""
