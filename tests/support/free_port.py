"""Ports of this machine where nothing listens."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path
from secrets import randbelow

_LOWEST = 10_000
_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_port(address: str = "127.0.0.1") -> int:
    """A port of an address where nothing listens, below those that the kernel gives to whoever asks for any: what runs beside a
    test does not come upon it before the test uses it.
    """
    above = int(_RANGE.read_text().split()[0])
    for _ in range(100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            # Where the kernel gives away nearly all ports, it is one of those.
            probe.bind((address, _LOWEST + randbelow(above - _LOWEST) if above > 2 * _LOWEST else 0))
            return int(probe.getsockname()[1])
    raise OSError(f"{address}: no port below those of {_RANGE} is free")
