"""nvidia-persistenced, nv-fabricmanager and nvlsm, which start or refuse to start as the real daemons do.

They differ in what they do then: persistenced switches persistence mode on, the fabric manager registers the cards after
a moment, nvlsm only runs. The driver cannot be unloaded while they run.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from pathlib import Path

from lab.simulated import host, modules, nvidia_smi

FABRIC_VERSION = Path("/usr/share/nvidia/nvswitch/version")  # which the package brings
NVLSM = Path("/opt/nvidia/nvlsm/sbin/nvlsm")
_REGISTERING = 0.5  # seconds


def main(argv: list[str]) -> int:
    """Run the daemon that this was called as; returns the exit status."""
    name = Path(argv[0]).name
    problem = {"nvidia-persistenced": persistence, "nv-fabricmanager": fabric}.get(name, subnet)()
    if problem:
        print(problem, file=sys.stderr)
        return 1
    if name != "nvlsm":
        host.write(host.NVIDIA / f"{name}.pid", str(os.getpid()))
    ready()
    if name == "nv-fabricmanager":
        time.sleep(_REGISTERING)
        nvidia_smi.remember("fabric", "Completed")
        print("Fabric manager has finished training all NVLinks and registered all GPUs", flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    while True:
        signal.pause()


def ready() -> None:
    """Tell systemd that the daemon is ready (sd_notify)."""
    if address := os.environ.get("NOTIFY_SOCKET"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
            to.sendto(b"READY=1", "\0" + address[1:] if address.startswith("@") else address)


def persistence() -> str:
    """Start persistenced, which loads the module and needs a card; returns an error, or nothing."""
    try:
        modules.load("nvidia")
    except (modules.Refused, FileNotFoundError):
        return "nvidia-persistenced failed to initialize. Check syslog for more details."
    nvidia_smi.remember("persistence", "1")
    return ""


def fabric() -> str:
    """Start the fabric manager; returns an error, or nothing.

    It needs the driver of its version, switches, and on Blackwell the subnet manager and ib_umad.
    """
    loaded, own = host.loaded_version("nvidia"), FABRIC_VERSION.read_text().strip()
    if loaded is None:
        return "fabric manager: request to query NVSwitch device information failed: NVIDIA driver is not loaded"
    if not host.hardware()["switches"]:
        return "failed to detect NVSwitch device information: Nothing to do [NV_WARN_NOTHING_TO_DO]"
    if loaded != own:
        return (
            f"fabric manager NVIDIA GPU driver interface version {own} don't match with driver version {loaded}. "
            "Please update with matching NVIDIA driver package."
        )
    if host.hardware()["subnet_manager"]:
        if not host.loaded("ib_umad"):
            return "NVLSM cannot be started: no umad device; load the kernel module with 'modprobe ib_umad'"
        if not NVLSM.exists():
            return f"NVLSM binary is not found at {NVLSM}; install the package nvlsm"
    nvidia_smi.remember("fabric", "In Progress")
    return ""


def subnet() -> str:
    """Start the subnet manager, which needs the InfiniBand device; returns an error, or nothing."""
    return "" if host.loaded("ib_umad") else "no umad device"
