"""What accelerators ask of the kernel, beyond a driver. Pure."""

from __future__ import annotations

from collections.abc import Iterable


def kernel_parameters(cpu_vendor: str) -> tuple[str, ...]:
    """Boot parameters of hosts with AMD accelerators (AMD's guide for MI300X systems); `cpu_vendor` as in /proc/cpuinfo."""
    intel = ("intel_iommu=on",) if cpu_vendor == "GenuineIntel" else ()  # AMD's own processors have theirs on
    return (*intel, "iommu=pt", "pci=realloc=off")


def absent_parameters(wanted: Iterable[str], command_line: Iterable[str]) -> list[str]:
    """The parameters a kernel was not started with; `pci=` takes several, separated by commas."""
    given = set()
    for word in command_line:
        name, _, values = word.partition("=")
        given |= {f"{name}={value}" for value in values.split(",")} | {word}
    return [one for one in wanted if one not in given]
