"""Makes the simulated hardware of a host misbehave, for tests. lab/simulated/knobs.py says what each knob does."""

from __future__ import annotations

import json
from typing import TypedDict, Unpack

from lab.hosts import hosts
from lab.hosts.hardware import describe
from lab.topology import Host, find


class Knobs(TypedDict, total=False):
    """Values of knobs; None resets a knob."""

    count: int | None
    mig: list[int] | None
    ecc: dict[str, int] | None
    lost: list[int] | None
    repair_pending: list[int] | None
    fabric: str | None
    secure_boot: bool | None
    key_enrolled: bool | None
    nouveau: bool | None
    vfio: list[int] | None
    build_fails: bool | None
    amd_smi: str | None
    held: dict[str, int] | None


def turn(host: str | Host, **knobs: Unpack[Knobs]) -> None:
    """Set knobs; the others keep their values."""
    hosts.exec(host, ["lab-knobs", json.dumps(knobs)])


def reset(host: str | Host) -> None:
    """Reset all knobs. What drivers bind changes at the next reboot."""
    turn(host, **dict.fromkeys(Knobs.__annotations__))


def xid(host: str | Host, number: int, card: int = 0, text: str = "pid='<unknown>', name=<unknown>") -> None:
    """Write an error of the NVIDIA driver about a card to the kernel log, where it stays until the next reboot."""
    hardware = describe(find(host) if isinstance(host, str) else host)
    address = hardware["cards"][card]["address"].rsplit(".", 1)[0]
    log(host, f"NVRM: Xid (PCI:{address}): {number}, {text}", level=3)


def log(host: str | Host, line: str, level: int = 6) -> None:
    """Write a line to the host's kernel log; `level` as in syslog."""
    hosts.exec(host, "cat > /dev/kmsg", text=f"<{level}>{line}\n")
