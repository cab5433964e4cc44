"""What failures of NVIDIA's accelerators look like in the kernel log. Source: NVIDIA's Xid catalog."""

from __future__ import annotations

import re

# Xids, cards off the bus, fatal errors of NVSwitches.
ERRORS = (
    r"NVRM: Xid",
    r"NVRM: .*fallen off the bus",
    r"NVRM: .*RmInitAdapter failed",
    r"nvidia-nvswitch.*SXid.*, Fatal",
)
# Xids that a program causes or that are only notes: 13, 31, 43, 45, 137 a program's fault or end; 63 a row is mapped out,
# 92 corrected errors, 94 an error that ended one program; 154 what recovery is needed, now none. Those of NVLink 5, 144 to 150,
# name their severity behind the unit: what is not fatal has been put right by the link itself.
HARMLESS = (
    r"Xid \(PCI:[^)]*\): ((13|31|43|45|63|92|94|137),|154,.* to 0x[0-9a-f]+ \(None\))",
    r"Xid \(PCI:[^)]*\): (14[4-9]|150), [A-Za-z0-9_]+ [Nn]on-?[Ff]atal",
)
HELP = "look it up in NVIDIA's Xid catalog"

_MEANINGS = {
    "48": "memory error beyond repair",
    "64": "memory that could not be mapped out",
    "74": "NVLink error",
    "79": "the card fell off the bus",
    "95": "memory error that reached every program",
    "119": "the card's own processor does not answer",
    "120": "the card's own processor failed",
    **dict.fromkeys(map(str, range(144, 151)), "NVLink error"),
}


def explain(line: str) -> str:
    """What a line's Xid means, in brackets; "" where it has none, or one that says enough itself."""
    xid = re.search(r"Xid \(PCI:[^)]*\): (\d+)", line)
    return f" (Xid {xid[1]}: {_MEANINGS[xid[1]]})" if xid and xid[1] in _MEANINGS else ""
