"""The kernel as drivers meet it: boot parameters, Secure Boot, what it complained about, who may use its devices."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TypedDict

from barewind.drivers.gpus import whole

_NEWEST = 20  # lines of the kernel log

SECTION = r"""
echo "running=$(uname -r)"
[ ! -e "/lib/modules/$(uname -r)/build" ] || echo headers=yes
echo "command_line=$(cat /proc/cmdline)"
echo "secure_boot=$(tail -qc 1 /sys/firmware/efi/efivars/SecureBoot-* | od -An -tu1)"
if command -v mokutil > /dev/null; then for key in /var/lib/dkms/mok.pub /var/lib/shim-signed/mok/MOK.der; do
  [ ! -f "$key" ] || echo "key=$(mokutil --test-key "$key" 2>&1)"; done; fi
[ -z "$(ls -A /sys/kernel/iommu_groups)" ] || echo iommu=yes
echo "numa_balancing=$(cat /proc/sys/kernel/numa_balancing)"
echo "cpu_vendor=$(awk '/^vendor_id/ { print $3; exit }' /proc/cpuinfo)"
echo "boot_id=$(cat /proc/sys/kernel/random/boot_id)"
[ ! -e /run/reboot-required ] || echo reboot_required=yes
"""


def errors_section(errors: Iterable[str], harmless: Iterable[str]) -> str:
    """The part of a host's script that prints the kernel log's newest lines since boot about failures of accelerators.

    Both are extended regular expressions: what such lines look like, and which of them tell of none.
    """
    return f"""
if [ -n "$(timeout -k 5 20 journalctl -k -b -q --no-pager -o cat -n 1)" ]
then timeout -k 5 20 journalctl -k -b -q --no-pager -o cat; else timeout -k 5 20 dmesg -t
fi | grep -E '{"|".join(errors)}' | grep -vE '{"|".join(harmless)}' | tail -n {_NEWEST}"""


def groups_section(names: Iterable[str]) -> str:
    """The part of a host's script that prints groups."""
    return f"getent group {' '.join(names)}"


class Kernel(TypedDict):
    """`key_enrolled`: whether the firmware trusts the key that DKMS signs with; None where that is not known."""

    running: str
    headers: bool
    command_line: list[str]
    secure_boot: bool
    key_enrolled: bool | None
    iommu: bool
    numa_balancing: int | None
    cpu_vendor: str
    boot_id: str
    reboot_required: bool


def read(lines: list[str]) -> Kernel:
    """The kernel's state; "" and None where the host did not say."""
    values = dict(line.split("=", 1) for line in lines if "=" in line)
    keys = [line.removeprefix("key=") for line in lines if line.startswith("key=")]
    return {
        "running": values.get("running", ""),
        "headers": values.get("headers") == "yes",
        "command_line": values.get("command_line", "").split(),
        "secure_boot": values.get("secure_boot", "").strip() == "1",
        "key_enrolled": _enrolled(keys),
        "iommu": values.get("iommu") == "yes",
        "numa_balancing": whole(values.get("numa_balancing")),
        "cpu_vendor": values.get("cpu_vendor", ""),
        "boot_id": values.get("boot_id", ""),
        "reboot_required": values.get("reboot_required") == "yes",
    }


def _enrolled(keys: list[str]) -> bool | None:
    """What mokutil says of the keys; one that is only asked for still waits for someone at the console."""
    if any("is already enrolled" in key for key in keys):
        return True
    return False if any("is not enrolled" in key or "enrollment request" in key for key in keys) else None


def read_groups(lines: list[str]) -> dict[str, int]:
    """Group ids by name, of `render:x:105:`."""
    known = [re.fullmatch(r"([a-z]+):[^:]*:(\d{1,9}):.*", line) for line in lines]
    return {line[1]: int(line[2]) for line in known if line}


def absent_parameters(wanted: Iterable[str], command_line: Iterable[str]) -> list[str]:
    """The parameters a kernel was not started with; `pci=` takes several, separated by commas."""
    given = set()
    for word in command_line:
        name, _, values = word.partition("=")
        given |= {f"{name}={value}" for value in values.split(",")} | {word}
    return [parameter for parameter in wanted if parameter not in given]
