"""Files that hosts with simulated accelerators have before their first boot, besides those of every host."""

from __future__ import annotations

import json
import os
from pathlib import Path

from lab import topology
from lab.hosts import hardware
from lab.simulated.stub import LIBRARY, stub
from lab.topology import Host

LAB = Path(__file__).parents[1]
BOOT = f"{LIBRARY}/boot"  # the container's first process

# Command -> module of lab/simulated/ whose main() it runs. Packages bring further commands.
COMMANDS = {
    BOOT: "boot",
    f"{LIBRARY}/modules-load": "kmod",
    f"{LIBRARY}/runc-memlock": "runc_memlock",
    "/usr/local/sbin/lab-knobs": "knobs",
    **{f"/usr/local/sbin/{name}": "kmod" for name in ("modprobe", "modinfo", "lsmod", "rmmod", "depmod")},
}
SCRIPTS = {
    "/usr/sbin/update-grub": "update-grub",
    "/usr/bin/mokutil": "mokutil",
    "/usr/local/sbin/runc": "runc",
}

GRUB_DEFAULTS = """\
GRUB_DEFAULT=0
GRUB_TIMEOUT=5
GRUB_CMDLINE_LINUX_DEFAULT="quiet"
GRUB_CMDLINE_LINUX=""
"""

# Modules of the kernel itself, which have no version. See lab/simulated/modules.py.
KERNEL_MODULES = {
    "drivers/gpu/drm/amd/amdgpu/amdgpu": "AMD GPU",
    "drivers/gpu/drm/nouveau/nouveau": "nVidia Riva/TNT/GeForce/Quadro/Tesla/Tegra K1+",
    "drivers/infiniband/core/ib_umad": "InfiniBand userspace MAD packet access",
    "drivers/infiniband/core/ib_core": "core kernel InfiniBand API",
}

File = tuple[str, int]  # content, mode


def files(host: Host, key: str) -> dict[str, File]:
    """Files of such a host: path -> content and mode. `key`: public key of the lab's package repositories."""
    release = os.uname().release  # the machine's kernel is that of every host
    modules = f"/lib/modules/{release}".replace("/lib", "/usr/lib", 1)
    files: dict[str, File] = {
        "/etc/lab/hardware.json": (json.dumps(hardware.describe(host), indent=1) + "\n", 0o644),
        "/usr/lib/os-release": (hardware.os_release(host.kind), 0o644),
        "/etc/default/grub": (GRUB_DEFAULTS, 0o644),
        "/boot/grub/grub.cfg": (_first_menu(release), 0o644),
        "/etc/apt/sources.list.d/lab.list": (
            f"deb [signed-by=/etc/apt/keyrings/lab.asc] {topology.REPOSITORIES}/distribution/ /\n",
            0o644,
        ),
        "/etc/apt/keyrings/lab.asc": (key, 0o644),
        "/etc/systemd/system/systemd-modules-load.service.d/lab.conf": (
            f"[Service]\nExecStart=\nExecStart={LIBRARY}/modules-load\n",
            0o644,
        ),
        f"{LIBRARY}/lab/__init__.py": ((LAB / "__init__.py").read_text(), 0o644),
    }
    for path in sorted((LAB / "simulated").glob("*.py")):
        files[f"{LIBRARY}/lab/simulated/{path.name}"] = (path.read_text(), 0o644)
    for command, module in COMMANDS.items():
        files[command] = (stub(module), 0o755)
    for command, script in SCRIPTS.items():
        files[command] = ((LAB / "simulated" / "programs" / script).read_text(), 0o755)
    for name, description in KERNEL_MODULES.items():
        text = f"license=GPL\ndescription={description}\nvermagic={release} SMP preempt mod_unload\n"
        files[f"{modules}/kernel/{name}.ko"] = (text, 0o644)
    return files


def _first_menu(release: str) -> str:
    """Text of grub.cfg as update-grub wrote it when the system was installed."""
    root = "UUID=5f1b3c1e-0000-4000-8000-000000000001"
    return f"menuentry 'GNU/Linux' {{\n\tlinux\t/boot/vmlinuz-{release} root={root} ro quiet\n}}\n"
