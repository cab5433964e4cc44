"""Where a simulated host has its hardware and faults (on disk) and its kernel's state (in /run)."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

HARDWARE = Path("/etc/lab/hardware.json")  # as lab/hosts/hardware.py describes it
KNOBS = Path("/etc/lab/knobs.json")
KERNEL = Path("/run/lab")  # lost at a reboot, as a kernel's state is
MODULE = KERNEL / "module"  # is /sys/module
PROC_DRIVER = KERNEL / "proc-driver"  # is /proc/driver
PCI = KERNEL / "pci"  # is /sys/bus/pci
FIRMWARE = KERNEL / "firmware"  # is /sys/firmware
FILES = KERNEL / "files"  # each is a file of /proc or /sys
NVIDIA = KERNEL / "nvidia"  # what the NVIDIA driver remembers while it is loaded
LIBRARIES = Path("/usr/lib/x86_64-linux-gnu")

Json = dict[str, Any]


def release() -> str:
    """The running kernel's release, as `uname -r` says."""
    return os.uname().release


def hardware() -> Json:
    """The host's hardware (lab.hosts.hardware.Hardware)."""
    description: Json = json.loads(HARDWARE.read_text())
    return description


def knobs() -> Json:
    """Knobs that tests have set; knobs.py explains them."""
    try:
        values: Json = json.loads(KNOBS.read_text())
    except (OSError, ValueError):
        return {}
    return values


def cards() -> list[Json]:
    """The accelerators; the knob `count` limits their number."""
    installed: list[Json] = hardware()["cards"]
    return installed[: knobs().get("count", len(installed))]


def loaded(module: str) -> bool:
    """Whether a simulated kernel module is loaded; links stand for the machine's own modules."""
    folder = MODULE / module.replace("-", "_")
    return folder.is_dir() and not folder.is_symlink()


def loaded_version(module: str) -> str | None:
    """Version of a loaded module; None when it is not loaded, or has none as the kernel's own modules."""
    try:
        return (MODULE / module / "version").read_text().strip() if loaded(module) else None
    except OSError:
        return None


def write(path: Path, text: str) -> None:
    """Write a file, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def kernel_log(message: str, level: int = 6) -> None:
    """Write lines to the kernel log. `level` as in syslog: 3 error, 4 warning, 6 information."""
    try:
        with Path("/dev/kmsg").open("w") as log:
            log.write("".join(f"<{level}>{line}\n" for line in message.splitlines()))
    except OSError:
        pass  # without the program of kernel_log.py there is no log
