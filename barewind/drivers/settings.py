"""Kernel settings and apt settings of hosts with accelerators, as files."""

from __future__ import annotations

from barewind.drivers.model import (
    GRUB_FILE,
    MODULES_FILE,
    PREFERENCES_FILE,
    SYSCTL_FILE,
    TMPFILES_FILE,
    UNATTENDED_FILE,
)
from barewind.hosts.file import HostFile
from barewind.spec.keys import EngineSpec

_HEAD = "# Written by Barewind: changed by hand, it is put right at the next deploy.\n"
_FIRST = 1001  # apt_preferences(5): above 1000 a version is taken even if it is a downgrade


def preferences(packages: str, pin: str) -> HostFile:
    """Have apt prefer one version or origin for packages (apt_preferences(5)), dependencies included."""
    return HostFile(PREFERENCES_FILE, f"{_HEAD}Package: {packages}\nPin: {pin}\nPin-Priority: {_FIRST}\n")


def unattended(patterns: tuple[str, ...]) -> HostFile:
    """Keep unattended-upgrades off packages: regular expressions of names. Held packages it leaves alone anyway."""
    lines = "".join(f'    "{pattern}";\n' for pattern in patterns)
    return HostFile(
        UNATTENDED_FILE, f"{_HEAD.replace('#', '//', 1)}Unattended-Upgrade::Package-Blacklist {{\n{lines}}};\n"
    )


def modules(names: tuple[str, ...]) -> HostFile:
    """Kernel modules to load at boot besides the driver's own (modules-load.d(5))."""
    return HostFile(MODULES_FILE, _HEAD + "".join(f"{name}\n" for name in names))


def sysctl(spec: EngineSpec, **settings: int) -> HostFile:
    """Kernel settings, applied at boot and by `sysctl -p FILE`."""
    if spec.hugepages is not None:
        settings["vm.nr_hugepages"] = spec.hugepages
    return HostFile(SYSCTL_FILE, _HEAD + "".join(f"{name} = {value}\n" for name, value in sorted(settings.items())))


def transparent_hugepages(spec: EngineSpec) -> HostFile:
    """Applied at boot and by `systemd-tmpfiles --create FILE`; without a wish the kernel's default stays."""
    path = "/sys/kernel/mm/transparent_hugepage/enabled"
    wish = spec.transparent_hugepages
    return HostFile(TMPFILES_FILE, _HEAD + (f"w {path} - - - - {wish}\n" if wish else ""))


def grub(parameters: tuple[str, ...]) -> HostFile:
    """Kernel parameters behind those that are there already; read by update-grub."""
    words = " ".join(parameters)
    return HostFile(GRUB_FILE, f'{_HEAD}GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX {words}"\n')
