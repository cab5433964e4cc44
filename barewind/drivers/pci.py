"""The accelerators on the PCI bus: what is in the machine, with or without a driver."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TypedDict

_LINE = re.compile(r"([0-9a-f:.]+) 0x([0-9a-f]{4}) 0x([0-9a-f]{4}) 0x([0-9a-f]{4})[0-9a-f]{2} ([\w-]*)\.")
_OTHER_BRIDGE = "0680"  # the class of switches between cards, which are no cards themselves


class Card(TypedDict):
    """One accelerator; ids without 0x, `driver` is "" where none is bound."""

    address: str
    vendor: str
    device: str
    driver: str


def section(vendors: Iterable[str], classes: Iterable[str]) -> str:
    """The part of a host's script that lists devices of these vendors and classes, by their hexadecimal ids."""
    # One process for all devices: the links to their drivers come first, as pairs, then one value per file.
    return rf"""
find /sys/bus/pci/devices/*/driver -prune -printf '%p %l\n' | awk '
NF == 2 {{ n = split($1, path, "/"); m = split($2, link, "/"); driver[path[n - 1]] = link[m]; next }}
{{ n = split(FILENAME, path, "/"); at[path[n - 1]] = 1; value[path[n - 1], path[n]] = $1 }}
END {{ for (a in at) if (value[a, "vendor"] ~ /^0x({"|".join(vendors)})$/ && value[a, "class"] ~ /^0x({"|".join(classes)})/)
  print a, value[a, "vendor"], value[a, "device"], value[a, "class"], driver[a] "." }}
' - /sys/bus/pci/devices/*/vendor /sys/bus/pci/devices/*/device /sys/bus/pci/devices/*/class
"""


def read(lines: list[str]) -> list[Card]:
    """The accelerators, by address."""
    cards: list[Card] = []
    for line in lines:
        if known := _LINE.fullmatch(line):
            address, vendor, device, kind, driver = known.groups()
            if kind != _OTHER_BRIDGE:
                cards.append({"address": address, "vendor": vendor, "device": device, "driver": driver})
    return sorted(cards, key=lambda card: card["address"])


def switches(lines: list[str], vendor: str) -> int:
    """How many switches of a vendor there are between the cards."""
    known = [_LINE.fullmatch(line) for line in lines]
    return sum(1 for line in known if line and (line[2], line[4]) == (vendor, _OTHER_BRIDGE))
