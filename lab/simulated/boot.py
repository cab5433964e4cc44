"""First process of a simulated host: makes the kernel's interfaces, then becomes lab-init, then systemd.

Every file that a deploy reads or writes below /proc and /sys is covered by a file of the host, and the rest of /proc/sys,
the network's settings excepted, is made read-only: what a host sets must never reach the machine's kernel. A host on
which a cover fails does not boot.
"""

from __future__ import annotations

import ctypes
import os
import re
import shlex
import subprocess
import sys
import uuid
from pathlib import Path

from lab.simulated import host, kernel_log, modules
from lab.simulated.knobs import write_secure_boot

_MS_RDONLY, _MS_REMOUNT, _MS_BIND = 1, 32, 4096
GRUB = Path("/boot/grub/grub.cfg")
THP = "/sys/kernel/mm/transparent_hugepage/enabled"
# Settings a deploy may change, with the kernel's default.
SETTINGS = {
    "kernel/numa_balancing": "1",
    "vm/nr_hugepages": "0",
    "vm/swappiness": "60",
    "vm/max_map_count": "65530",
    "vm/zone_reclaim_mode": "0",
    "kernel/sysrq": "438",
}


def main(_: list[str]) -> None:
    """Make the kernel's interfaces and become lab-init."""
    # What the machine's kernel does not have cannot be covered, and need not be.
    files = {path: cover for path, cover in describe().items() if Path(path).exists()}
    hold_settings()
    for path, cover in files.items():
        bind(cover, Path(path))
    for path, cover in files.items():
        if cover.stat().st_dev != Path(path).stat().st_dev or cover.stat().st_ino != Path(path).stat().st_ino:
            sys.exit(f"lab: {path} is not covered; this host does not boot")
    if "render:" not in Path("/etc/group").read_text():
        subprocess.run(["/usr/sbin/groupadd", "--system", "render"], check=True)  # udev's package makes it elsewhere
    kernel_log.start()
    host.kernel_log(f"Linux version {host.release()} (simulated by the lab)", 5)
    host.kernel_log(f"Command line: {command_line().strip()}")
    modules.autoload()
    os.execv("/usr/local/sbin/lab-init", ["lab-init"])  # noqa: S606 - this process becomes it


def describe() -> dict[str, Path]:
    """Write every interface below /run/lab; returns them by the path that each is to cover."""
    modules.describe_pci()
    _show_through(Path("/sys/module"), host.MODULE)
    _show_through(Path("/sys/firmware"), host.FIRMWARE)
    write_secure_boot()
    host.PROC_DRIVER.mkdir()
    line = command_line()
    groups = host.KERNEL / "iommu_groups"
    groups.mkdir()
    if has_iommu(line, host.hardware()["cpu_vendor"]):
        for number, card in enumerate(host.cards()):
            (groups / str(number) / "devices").mkdir(parents=True)
            (groups / str(number) / "devices" / card["address"]).symlink_to(f"/sys/bus/pci/devices/{card['address']}")
    texts = {
        "/proc/cmdline": line,
        "/proc/cpuinfo": re.sub(
            r"(?m)^(vendor_id\s*: ).*$", rf"\g<1>{host.hardware()['cpu_vendor']}", Path("/proc/cpuinfo").read_text()
        ),
        "/proc/sys/kernel/random/boot_id": f"{uuid.uuid4()}\n",
        "/proc/sysrq-trigger": "",
        "/proc/modules": "",
        THP: "always [madvise] never\n",
    }
    covers = {
        "/sys/bus/pci": host.PCI,
        "/sys/module": host.MODULE,
        "/sys/firmware": host.FIRMWARE,
        "/sys/kernel/iommu_groups": groups,
        "/proc/driver": host.PROC_DRIVER,
    }
    for path, text in texts.items():
        covers[path] = host.FILES / Path(path).name
        host.write(covers[path], text)
    for name, value in SETTINGS.items():
        covers[f"/proc/sys/{name}"] = host.FILES / "sys" / name.replace("/", ".")
        host.write(host.FILES / "sys" / name.replace("/", "."), value + "\n")
    return covers


def hold_settings() -> None:
    """Make /proc/sys read-only, but not the network's settings, which belong to the host's network namespace."""
    bind(Path("/proc/sys"), Path("/proc/sys"))
    bind(Path("/proc/sys/net"), Path("/proc/sys/net"))
    mount("none", "/proc/sys", _MS_REMOUNT | _MS_BIND | _MS_RDONLY)
    if os.statvfs("/proc/sys").f_flag & os.ST_RDONLY == 0 or os.statvfs("/proc/sys/net").f_flag & os.ST_RDONLY:
        sys.exit("lab: /proc/sys is not held; this host does not boot")


def command_line() -> str:
    """The kernel's command line: that of the first entry in grub.cfg, as a boot loader takes it."""
    match = re.search(r"(?m)^\s*linux\s+(\S+)(.*)$", GRUB.read_text())
    if match is None:
        sys.exit(f"lab: {GRUB} has no entry; this host does not boot")
    return f"BOOT_IMAGE={match[1]} {' '.join(shlex.split(match[2]))}\n"


def has_iommu(line: str, cpu_vendor: str) -> bool:
    """Whether the kernel uses the IOMMU: AMD's by default, Intel's if the command line asks for it."""
    words = line.split()
    return "iommu=off" not in words and (cpu_vendor == "AuthenticAMD" or "intel_iommu=on" in words)


def _show_through(folder: Path, cover: Path) -> None:
    """Make a cover that shows what the machine's kernel has in a folder, through a second mount of it."""
    aside = cover.with_name(f"own-{cover.name}")
    aside.mkdir()
    bind(folder, aside)
    cover.mkdir()
    for path in folder.iterdir():
        (cover / path.name).symlink_to(aside / path.name)


def bind(source: Path, target: Path) -> None:
    """Bind mount; OSError when it fails."""
    mount(str(source), str(target), _MS_BIND)


def mount(source: str, target: str, flags: int) -> None:
    """Call mount(2); OSError when it fails."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(source.encode(), target.encode(), None, flags, None) != 0:
        raise OSError(ctypes.get_errno(), f"mount {source} on {target}")
