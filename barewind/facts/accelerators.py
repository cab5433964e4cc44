"""Everything about a host's accelerators: the cards, their drivers, the kernel under them. One round trip, pure parsing.

Whatever a tool prints, what cannot be read is left out: None, "" or an empty list, never a guess.
"""

from __future__ import annotations

from typing import Literal, TypedDict

from pyinfra.api import FactBase

from barewind.facts import amd_smi, drivers, kernel, nvidia_smi, packages, pci, script, split
from barewind.facts.drivers import Fabric, Module, Toolkit, Unit
from barewind.facts.gpus import Gpu, whole
from barewind.facts.kernel import Kernel
from barewind.facts.pci import Card
from barewind.packages import Installed

# What the parts of a host's script are called, and the shell that prints each.
SECTIONS: dict[str, str] = {
    "pci": pci.SECTION,
    **nvidia_smi.SECTIONS,
    **amd_smi.SECTIONS,
    **drivers.SECTIONS,
    **kernel.SECTIONS,
}


class AcceleratorFacts(TypedDict):
    """A host's accelerators and what they need.

    `pci` is what is in the machine, `gpus` what the first `tool` that answered makes of it ("" where none did),
    `tool_error` what a tool said instead of, or beside, the cards.
    """

    pci: list[Card]
    nvswitches: int
    gpus: list[Gpu]
    tool: str
    tool_error: str
    modules: dict[Literal["nvidia", "amdgpu"], Module]
    fabric: Fabric
    persistenced: Unit
    toolkit: Toolkit
    kernel: Kernel
    kernel_errors: list[str]
    shm_bytes: int | None
    groups: dict[str, int]
    packages: dict[str, Installed]


class Accelerators(FactBase[AcceleratorFacts]):
    """The accelerators alone, for operations that look at them between two steps."""

    abstract = False

    def command(self) -> str:
        return script(**SECTIONS)

    def process(self, output: list[str]) -> AcceleratorFacts:
        return read(split(output))


def read(found: dict[str, list[str]]) -> AcceleratorFacts:
    """The facts of what the sections printed."""
    cards, switches = pci.read(found.get("pci", []))
    modules = drivers.read_modules(found)
    tool, gpus, error = _gpus(found, cards, modules["amdgpu"]["loaded"] or "")
    installed = packages.read(found.get("packages", []))
    _, persistenced = drivers.read_units(found)
    return {
        "pci": cards,
        "nvswitches": switches,
        "gpus": gpus,
        "tool": tool,
        "tool_error": error,
        "modules": modules,
        "fabric": drivers.read_fabric(found, installed),
        "persistenced": persistenced,
        "toolkit": drivers.read_toolkit(found, installed),
        "kernel": kernel.read(found.get("kernel", [])),
        "kernel_errors": [line.strip() for line in found.get("kernel_errors", []) if line.strip()],
        "shm_bytes": whole((found.get("shm") or [""])[0]),
        "groups": kernel.read_groups(found.get("groups", [])),
        "packages": installed,
    }


def _gpus(found: dict[str, list[str]], cards: list[Card], amdgpu: str) -> tuple[str, list[Gpu], str]:
    """The first tool that answers, its cards, and what it (or, if none answers, the first of them) complains about.

    NVIDIA's comes first, unless it only tells of a display adapter among AMD's accelerators. `amdgpu` is that driver's version.
    """
    vendors = [card["vendor"] for card in cards]
    nvidia, nvidia_error = nvidia_smi.read(found.get("nvidia_smi", []), found.get("nvidia_rows", []))
    if nvidia and vendors.count("10de") >= vendors.count("1002"):
        return "nvidia-smi", nvidia, nvidia_error
    by_amd_smi, amd_error = amd_smi.read_amd_smi(found.get("amd_smi", []))
    by_rocm_smi, rocm_error = amd_smi.read_rocm_smi(found.get("rocm_smi", []))
    by_files = amd_smi.read_sysfs(found.get("amd_sysfs", []))
    for tool, gpus in (("amd-smi", by_amd_smi), ("rocm-smi", by_rocm_smi), ("sysfs", by_files)):
        if gpus:
            for gpu in gpus:
                gpu["driver"] = gpu["driver"] or amdgpu
            amd_smi.add_errors(gpus, found.get("amd_ras", []))
            return tool, gpus, (amd_error or rocm_error) if tool == "sysfs" else ""
    return ("nvidia-smi" if nvidia else ""), nvidia, nvidia_error or amd_error or rocm_error
