"""Hosts with simulated accelerators: their drivers, and their restarts."""

from __future__ import annotations

from lab import topology, wait
from lab.hosts import hosts
from tests.support.lab import servers

HOPPER = ("hopper1", "hopper2")
SIMULATED = (*HOPPER, "blackwell1", "mi300x1")
OLD, NEW = "580.95.05", "580.126.09"  # drivers of the stand-in repository
BROKEN = "580.142.01"  # its kernel module does not build


def shell(host: str, text: str) -> str:
    """The output of a command on a host, as root."""
    return hosts.exec(host, text).stdout.strip()


def boot_id(host: str) -> str:
    """Changes with every restart of the host."""
    return shell(host, "cat /proc/sys/kernel/random/boot_id")


def reboot(host: str) -> None:
    """Restart a host by itself and wait until it is back."""
    before = boot_id(host)
    shell(host, "systemd-run --quiet --on-active=1 --timer-property=AccuracySec=100ms systemctl reboot")

    def back() -> bool:
        now = hosts.exec(host, "cat /proc/sys/kernel/random/boot_id", check=False)
        return now.returncode == 0 and now.stdout.strip() not in ("", before)

    wait.until(back, 180, f"{host} did not restart")
    hosts.booted(topology.find(host))


def driver(host: str) -> str:
    """The driver's version as nvidia-smi prints it."""
    return shell(host, "nvidia-smi --query-gpu=driver_version --format=csv,noheader | sort -u")


def rotation() -> dict[str, str]:
    """What the balancer does with each engine host: UP, DOWN, DRAIN, ..."""
    return {name: server.state for name, server in servers("lb1").items()}
