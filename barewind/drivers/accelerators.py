"""Everything about a host's accelerators: the cards, their drivers, the kernel under them. One round trip, pure parsing.

Whatever a tool prints, what cannot be read is left out: None, "" or an empty list, never a guess.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import cast

from barewind.drivers import kernel, modules, pci
from barewind.drivers.base import Reading
from barewind.drivers.gpus import whole
from barewind.drivers.model import AcceleratorFacts, Sections
from barewind.drivers.modules import Module
from barewind.drivers.pci import Card
from barewind.drivers.vendors import VENDORS
from barewind.hosts import packages

# Packages whose versions matter beside the vendors' own.
_PACKAGES = (
    *("docker.io", "docker-cli", "docker-ce*", "containerd*", "runc", "haproxy"),
    *("linux-headers-*", "linux-image-*"),
)


def sections() -> dict[str, str]:
    """What the parts of a host's script are called, and the shell that prints each; they run in one shell, in this order."""
    vendors = VENDORS.values()
    return {
        "pci": pci.section(
            [vendor.pci_vendor for vendor in vendors],
            sorted({kind for vendor in vendors for kind in vendor.pci_classes}),
        ),
        **{name: text for vendor in vendors for name, text in vendor.sections.items()},
        "modinfo": modules.section(vendor.module for vendor in vendors),
        "runtimes": "timeout -k 5 20 docker info -f '{{json .Runtimes}}'",
        "packages": packages.query([*(name for vendor in vendors for name in vendor.packages), *_PACKAGES]),
        "kernel": kernel.SECTION,
        "kernel_errors": kernel.errors_section(
            [pattern for vendor in vendors for pattern in vendor.kernel_errors],
            [pattern for vendor in vendors for pattern in vendor.harmless_errors],
        ),
        "shm": "df -B1 --output=size /dev/shm | tail -n 1",
        "groups": kernel.groups_section(name for vendor in vendors for name in vendor.groups),
    }


def read(printed: Sections) -> AcceleratorFacts:
    """The facts, from the lines that each section printed."""
    cards = pci.read(printed.get("pci", []))
    installed = packages.read(printed.get("packages", []))
    by_name: dict[str, Module] = {
        vendor.module: vendor.read_module(printed, modules.modinfo(printed.get("modinfo", []), vendor.module))
        for vendor in VENDORS.values()
    }
    reading = _reading(printed, cards, by_name)
    facts: AcceleratorFacts = {
        "pci": cards,
        "gpus": reading.gpus,
        "tool": reading.tool,
        "tool_error": reading.error,
        "modules": by_name,
        "runtimes": _runtimes(printed.get("runtimes", [])),
        "kernel": kernel.read(printed.get("kernel", [])),
        "kernel_errors": [line.strip() for line in printed.get("kernel_errors", []) if line.strip()],
        "shm_bytes": whole((printed.get("shm") or [""])[0]),
        "groups": kernel.read_groups(printed.get("groups", [])),
        "packages": installed,
    }
    own = {name: fact for vendor in VENDORS.values() for name, fact in vendor.read_own(printed, installed).items()}
    return cast("AcceleratorFacts", own | facts)


def _reading(printed: Sections, cards: list[Card], by_name: dict[str, Module]) -> Reading:
    """What the tools of the vendor with the most cards say; another's may only tell of a display adapter among them."""
    readings = {
        vendor.pci_vendor: vendor.read_gpus(printed, by_name[vendor.module]["loaded"] or "")
        for vendor in VENDORS.values()
    }
    counts = Counter(card["vendor"] for card in cards)
    answered = [vendor for vendor, reading in readings.items() if reading.gpus]
    complaint = next((reading.error for reading in readings.values() if reading.error), "")
    if not answered:
        return Reading("", [], complaint)
    first = max(answered, key=lambda vendor: counts[vendor])
    if counts[first] < max(counts[vendor] for vendor in readings):
        return replace(readings[first], error=complaint)
    return readings[first]


def _runtimes(lines: list[str]) -> list[str]:
    try:
        runtimes = json.loads("".join(lines))
    except (ValueError, RecursionError):  # no Docker, or its daemon is down
        return []
    return sorted(runtimes) if isinstance(runtimes, dict) else []
