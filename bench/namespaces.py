"""A network of hosts without machines: a namespace each, joined by a bridge, every link capped in both directions.

Needs root, iproute2 and the kernel's bridge, veth and sch_tbf. Nothing of it reaches, or is reached from, the machine's network.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from types import TracebackType

SUBNET = "10.77.0"
_BURST = "256k"  # bytes that may pass above the rate
_LATENCY = "50ms"  # longest wait in a link's queue


class Network:
    """Hosts 0 to `count - 1` at 10.77.0.10 and on; `rate` in Mbit/s, None for no cap."""

    def __init__(self, count: int, rate: float | None) -> None:
        self.count = count
        self.rate = rate
        self._name = f"bw{os.getpid()}"

    def __enter__(self) -> Network:
        bridge = f"{self._name}-br"
        _ip("netns", "add", bridge)
        _ip("-n", bridge, "link", "add", "br0", "type", "bridge")
        _ip("-n", bridge, "link", "set", "br0", "up")
        for host in range(self.count):
            name = self._host(host)
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
            _ip("-n", name, "link", "add", "eth0", "type", "veth", "peer", "name", f"p{host}", "netns", bridge)
            _ip("-n", name, "addr", "add", f"{address(host)}/24", "dev", "eth0")
            _ip("-n", name, "link", "set", "eth0", "up")
            _ip("-n", bridge, "link", "set", f"p{host}", "master", "br0", "up")
            if self.rate is not None:
                self._cap(name, "eth0")
                self._cap(bridge, f"p{host}")  # what is sent to the bridge's end is what the host receives
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in [*(self._host(host) for host in range(self.count)), f"{self._name}-br"]:
            pids = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True).stdout.split()
            for pid in pids:
                subprocess.run(["kill", "-9", pid], stderr=subprocess.DEVNULL)
            subprocess.run(["ip", "netns", "del", name], stderr=subprocess.DEVNULL)

    def start(self, host: int, command: Sequence[str], **options: object) -> subprocess.Popen[str]:
        """Start a command on a host."""
        argv = ["ip", "netns", "exec", self._host(host), *command]
        return subprocess.Popen(argv, text=True, **options)  # type: ignore[call-overload, no-any-return]

    def sent(self, host: int) -> int:
        """Bytes that a host has sent so far, headers of all layers included."""
        path = "/sys/class/net/eth0/statistics/tx_bytes"
        name = self._host(host)
        # `ip netns exec` mounts the namespace's own /sys
        return int(subprocess.run(["ip", "netns", "exec", name, "cat", path], capture_output=True, text=True).stdout)

    def cut(self, host: int) -> None:
        """Take a host off the network."""
        _ip("-n", self._host(host), "link", "set", "eth0", "down")

    def join(self, host: int) -> None:
        """Put a host back on the network."""
        _ip("-n", self._host(host), "link", "set", "eth0", "up")

    def _cap(self, name: str, device: str) -> None:
        limit = ("rate", f"{self.rate}mbit", "burst", _BURST, "latency", _LATENCY)
        _run("tc", "-n", name, "qdisc", "add", "dev", device, "root", "tbf", *limit)

    def _host(self, host: int) -> str:
        return f"{self._name}-{host}"


def address(host: int) -> str:
    """Address of a host."""
    return f"{SUBNET}.{10 + host}"


def _ip(*words: str) -> None:
    _run("ip", *words)


def _run(*words: str) -> None:
    subprocess.run(words, check=True)
