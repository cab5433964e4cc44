"""How the hardware of a simulated host misbehaves, for tests. `lab-knobs '{"mig": [0]}'` sets a knob, null resets it.

    count           cards that are there, from the first
    mig             indices of cards with Multi-Instance GPU on (nvidia-smi -mig changes it too)
    ecc             {"3": 2}: uncorrected memory errors by index
    lost            indices of cards that have fallen off the bus: nvidia-smi gives up at the first of them
    held            {"3": 90000}: MiB of memory by index that a process holds which is no engine (process 1)
    repair_pending  indices of cards that wait for a reset to repair memory
    fabric          "In Progress": the fabric manager never completes registering the cards
    secure_boot, key_enrolled    true or false
    nouveau         true: nouveau binds the cards at boot unless blacklisted
    vfio            indices of cards that are bound to vfio-pci at boot
    build_fails     true: DKMS cannot build any module
    amd_smi         "older": amd-smi's JSON is a bare list, as in older releases; "silent": it fails

Cards, MIG, ECC, held memory, repair, fabric and Secure Boot show at once; what drivers bind changes at the next boot.
"""

from __future__ import annotations

import json
import sys

from lab.simulated import host, modules

KNOWN = (
    *("count", "mig", "ecc", "lost", "repair_pending", "fabric", "secure_boot", "key_enrolled", "nouveau", "vfio"),
    *("build_fails", "amd_smi", "held"),
)
_SECURE_BOOT = "SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"


def main(argv: list[str]) -> int:
    """Set the knobs that the JSON argument names; returns the exit status."""
    changes = json.loads(argv[1])
    unknown = sorted(set(changes) - set(KNOWN))
    if unknown:
        print(f"lab-knobs: no knob {', '.join(unknown)}; there are {', '.join(KNOWN)}", file=sys.stderr)
        return 2
    change(changes)
    return 0


def change(changes: host.Json) -> None:
    """Set knobs; None resets a knob."""
    merged = {name: value for name, value in (host.knobs() | changes).items() if value is not None}
    host.write(host.KNOBS, json.dumps(merged) + "\n")
    modules.describe_pci()
    write_secure_boot()


def write_secure_boot() -> None:
    """Write the firmware's variable SecureBoot: four bytes of attributes, then 0 or 1."""
    path = host.FIRMWARE / "efi" / "efivars" / _SECURE_BOOT
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes([6, 0, 0, 0, int(bool(host.knobs().get("secure_boot")))]))
