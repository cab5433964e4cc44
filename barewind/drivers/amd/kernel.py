"""AMD's accelerators and the kernel: the module amdgpu, boot parameters, groups, what failures look like in the log."""

from __future__ import annotations

from barewind.drivers.model import Sections
from barewind.drivers.modules import Modinfo, Module

MODULE = "amdgpu"
DKMS = "dkms"  # the flavour that AMD's packages build; the kernel's own is "kernel"
GROUPS = ("render", "video")  # they own the device files

# The kernel's own amdgpu has no version but the kernel's.
SECTIONS = {"amdgpu_loaded": "[ ! -d /sys/module/amdgpu ] || cat /sys/module/amdgpu/version || uname -r"}

# Memory beyond repair, dead rings, resets.
ERRORS = (
    r"amdgpu.* [1-9][0-9]* (new )?uncorrectable",
    r"amdgpu.*ring .* timeout",
    r"amdgpu.*(Fatal error during GPU init|GPU reset (begin|.*failed)|device lost from bus)",
)
HARMLESS = (r"timeout, but soft recovered",)


def read_module(sections: Sections, modinfo: Modinfo) -> Module:
    """The module; where its file lies tells AMD's from the kernel's own."""
    file = modinfo["file"]
    version = modinfo["version"] or (modinfo["kernel"] if file.startswith("/") else "")
    flavour = DKMS if "/updates/" in file or "/extra/" in file else "kernel"
    loaded = sections.get("amdgpu_loaded") or [""]
    return {
        "loaded": loaded[0].strip() or None,
        "installed": version or None,
        "flavour": flavour if version else None,
    }


def kernel_parameters(cpu_vendor: str) -> tuple[str, ...]:
    """Boot parameters of hosts with AMD accelerators (AMD's guide for MI300X systems); `cpu_vendor` as in /proc/cpuinfo."""
    intel = ("intel_iommu=on",) if cpu_vendor == "GenuineIntel" else ()  # AMD's own processors have theirs on
    return (*intel, "iommu=pt", "pci=realloc=off")
