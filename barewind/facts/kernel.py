"""The kernel as drivers meet it: boot parameters, Secure Boot, what it complained about, who may use its devices."""

from __future__ import annotations

import re
from typing import TypedDict

from barewind.facts.gpus import whole

# What an accelerator's failure looks like in the kernel log: Xids, cards off the bus, memory beyond repair, dead rings.
_ERRORS = "|".join(
    (
        r"NVRM: Xid",
        r"NVRM: .*fallen off the bus",
        r"NVRM: .*RmInitAdapter failed",
        r"nvidia-nvswitch.*SXid.*, Fatal",
        r"amdgpu.* [1-9][0-9]* (new )?uncorrectable",
        r"amdgpu.*ring .* timeout",
        r"amdgpu.*(Fatal error during GPU init|GPU reset (begin|.*failed)|device lost from bus)",
    )
)
# Xids that a program causes or that are only notes (NVIDIA's Xid catalog): 13, 31, 43, 45, 137 a program's fault or end;
# 63 a row is mapped out, 92 corrected errors, 94 an error that ended one program; 154 what recovery is needed, now none.
_HARMLESS = (
    r"Xid \(PCI:[^)]*\): ((13|31|43|45|63|92|94|137),|154,.* to 0x[0-9a-f]+ \(None\))|timeout, but soft recovered"
)
_NEWEST = 20

SECTIONS = {
    "kernel": r"""
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
""",
    "kernel_errors": f"""
if [ -n "$(timeout -k 5 20 journalctl -k -b -q --no-pager -o cat -n 1)" ]
then timeout -k 5 20 journalctl -k -b -q --no-pager -o cat; else timeout -k 5 20 dmesg -t
fi | grep -E '{_ERRORS}' | grep -vE '{_HARMLESS}' | tail -n {_NEWEST}""",
    "shm": "df -B1 --output=size /dev/shm | tail -n 1",
    "groups": "getent group render video",
}


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
    said = dict(line.split("=", 1) for line in lines if "=" in line)
    keys = [line.removeprefix("key=") for line in lines if line.startswith("key=")]
    return {
        "running": said.get("running", ""),
        "headers": said.get("headers") == "yes",
        "command_line": said.get("command_line", "").split(),
        "secure_boot": said.get("secure_boot", "").strip() == "1",
        "key_enrolled": _enrolled(keys),
        "iommu": said.get("iommu") == "yes",
        "numa_balancing": whole(said.get("numa_balancing")),
        "cpu_vendor": said.get("cpu_vendor", ""),
        "boot_id": said.get("boot_id", ""),
        "reboot_required": said.get("reboot_required") == "yes",
    }


def _enrolled(keys: list[str]) -> bool | None:
    """What mokutil says of the keys; one that is only asked for still waits for someone at the console."""
    if any("is already enrolled" in key for key in keys):
        return True
    return False if any("is not enrolled" in key or "enrollment request" in key for key in keys) else None


def read_groups(lines: list[str]) -> dict[str, int]:
    """Group ids by name, of `render:x:105:`."""
    known = [re.fullmatch(r"([a-z]+):[^:]*:(\d{1,9}):.*", line) for line in lines]
    return {one[1]: int(one[2]) for one in known if one}
