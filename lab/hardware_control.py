"""Make the simulated hardware of a host misbehave, for tests. What each knob does: lab/simulated/knobs.py."""

from __future__ import annotations

import json
from typing import TypedDict, Unpack

from lab import hosts
from lab.hardware import describe
from lab.topology import Host, find


class Knobs(TypedDict, total=False):
    """None takes a knob back."""

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


def turn(host: str | Host, **knobs: Unpack[Knobs]) -> None:
    """Change knobs; the others stay."""
    hosts.exec(host, ["lab-knobs", json.dumps(knobs)])


def reset(host: str | Host) -> None:
    """Everything in order again. What drivers bind changes at the next reboot."""
    turn(host, **dict.fromkeys(Knobs.__annotations__))


def xid(host: str | Host, number: int, card: int = 0, text: str = "pid='<unknown>', name=<unknown>") -> None:
    """An error of the NVIDIA driver in the kernel log, as of a card's own address. It stays until the next reboot."""
    found = find(host) if isinstance(host, str) else host
    address = describe(found)["cards"][card]["address"].rsplit(".", 1)[0]
    log(host, f"NVRM: Xid (PCI:{address}): {number}, {text}", level=3)


def log(host: str | Host, line: str, level: int = 6) -> None:
    """A line of the host's kernel log; `level` as in syslog."""
    hosts.exec(host, "cat > /dev/kmsg", text=f"<{level}>{line}\n")
