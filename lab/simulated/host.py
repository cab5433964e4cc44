"""Where a simulated host keeps what it is: the hardware and its faults on disk, the kernel's state in /run."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

HARDWARE = Path("/etc/lab/hardware.json")  # as lab/hardware.py describes it
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
    """The host's description (lab.hardware.Hardware)."""
    found: Json = json.loads(HARDWARE.read_text())
    return found


def knobs() -> Json:
    """Faults set by tests: knobs.py explains them. Nothing is set by default."""
    try:
        found: Json = json.loads(KNOBS.read_text())
    except (OSError, ValueError):
        return {}
    return found


def cards() -> list[Json]:
    """The accelerators that are there, as many as the knob `count` leaves."""
    every: list[Json] = hardware()["cards"]
    return every[: knobs().get("count", len(every))]


def loaded(module: str) -> bool:
    """Is a simulated kernel module loaded? Others are links to the machine's own."""
    folder = MODULE / module.replace("-", "_")
    return folder.is_dir() and not folder.is_symlink()


def loaded_version(module: str) -> str | None:
    """Version of a loaded module; None when it is not loaded or, as the kernel's own, has none."""
    try:
        return (MODULE / module / "version").read_text().strip() if loaded(module) else None
    except OSError:
        return None


def write(path: Path, text: str) -> None:
    """Write a file, folders included."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def kernel_log(message: str, level: int = 6) -> None:
    """A line of the kernel log; `level` as in syslog: 3 is an error, 4 a warning, 6 information."""
    try:
        with Path("/dev/kmsg").open("w") as log:
            log.write("".join(f"<{level}>{line}\n" for line in message.splitlines()))
    except OSError:
        pass  # without the log's daemon there is no log
