"""The accelerators and NVSwitches on the PCI bus: what is in the machine, with or without a driver."""

from __future__ import annotations

import re
from typing import TypedDict

# One process for all devices: the links to their drivers come first, as pairs, then one value per file.
# Classes: 0300 and 0302 NVIDIA's, 0380 and 1200 AMD's accelerators, 0680 NVSwitches.
SECTION = r"""
find /sys/bus/pci/devices/*/driver -prune -printf '%p %l\n' | awk '
NF == 2 { n = split($1, path, "/"); m = split($2, link, "/"); driver[path[n - 1]] = link[m]; next }
{ n = split(FILENAME, path, "/"); at[path[n - 1]] = 1; value[path[n - 1], path[n]] = $1 }
END { for (a in at) if (value[a, "vendor"] ~ /^0x(10de|1002)$/ && value[a, "class"] ~ /^0x(0300|0302|0380|1200|0680)/)
  print a, value[a, "vendor"], value[a, "device"], value[a, "class"], driver[a] "." }
' - /sys/bus/pci/devices/*/vendor /sys/bus/pci/devices/*/device /sys/bus/pci/devices/*/class
"""

_LINE = re.compile(r"([0-9a-f:.]+) 0x(10de|1002) 0x([0-9a-f]{4}) 0x([0-9a-f]{4})[0-9a-f]{2} ([\w-]*)\.")
_SWITCH = "0680"


class Card(TypedDict):
    """One accelerator; ids without 0x, `driver` is "" where none is bound."""

    address: str
    vendor: str
    device: str
    driver: str


def read(lines: list[str]) -> tuple[list[Card], int]:
    """The accelerators by address, and how many NVSwitches there are."""
    cards: list[Card] = []
    switches = 0
    for line in lines:
        if known := _LINE.fullmatch(line):
            address, vendor, device, kind, driver = known.groups()
            if kind != _SWITCH:
                cards.append({"address": address, "vendor": vendor, "device": device, "driver": driver})
            elif vendor == "10de":
                switches += 1
    return sorted(cards, key=lambda card: card["address"]), switches
