"""What is asked of a host to write it down in an inventory, and how its answer is read. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from barewind import catalog
from barewind.drivers import accelerators
from barewind.drivers.model import AcceleratorFacts
from barewind.hosts.script import FactProcessError, script, split
from barewind.mirror import plan as mirror
from barewind.preflight.facts import OF_CONNECTION

_GIB = 2**30
_LOCAL = "ext2|ext3|ext4|xfs|btrfs|zfs|f2fs"  # file systems on disks of the host's own

LOOK = script(
    address=OF_CONNECTION % 'echo "$3"',  # at which this host was reached
    os='. /etc/os-release; echo "$ID $VERSION_ID"',
    memory="awk '/^MemTotal:/ {print $2}' /proc/meminfo",
    disks=f"df -PTB1 | awk 'NR > 1 && $2 ~ /^({_LOCAL})$/ {{ print $5, $7 }}'",
    mirror=f"cat {mirror.CONFIG_FILE}",
    readers=f"sed -n 's/^ *ip6* saddr \\([^ ]*\\) .*/\\1/p' {mirror.FIREWALL_FILE}",  # of the mirror
    **accelerators.sections(),
)


@dataclass(frozen=True)
class Discovered:
    """What was found on a host; `problem` says why nothing was.

    `kinds` counts its accelerators by our name of them, `unknown` those that no entry of the catalog has by their PCI ids.
    Memory and free space of its disks, by mount point, in GiB. `mirror` are the keys of our mirror that runs on it, if one does,
    `readers` the addresses and networks that it answers.
    """

    problem: str = ""
    address: str = ""
    os: str = ""
    memory_gib: float = 0.0
    disks: dict[str, float] = field(default_factory=dict)
    kinds: dict[str, int] = field(default_factory=dict)
    unknown: dict[str, int] = field(default_factory=dict)
    driver: str = ""
    mirror: dict[str, Any] = field(default_factory=dict)
    readers: tuple[str, ...] = ()


def read(output: str, problem: str) -> Discovered:
    """What a host's answer says."""
    if problem:
        return Discovered(problem.splitlines()[-1].strip())
    try:
        sections = split(output.splitlines())
    except FactProcessError as error:
        return Discovered(str(error))
    facts = accelerators.read(sections)
    kinds, unknown = _accelerators(facts)
    memory = _first(sections, "memory")
    return Discovered(
        address=_address(_first(sections, "address")),
        os=_first(sections, "os"),
        memory_gib=int(memory) / 2**20 if memory.isdigit() else 0.0,
        disks={
            match[2]: int(match[1]) / _GIB
            for line in sections.get("disks", [])
            if (match := re.fullmatch(r"(\d+) (/.*)", line.strip()))
        },
        kinds=kinds,
        unknown=unknown,
        driver=next((gpu["driver"] for gpu in facts["gpus"] if gpu["driver"]), ""),
        mirror=mirror.read_config("\n".join(sections.get("mirror", []))),
        readers=tuple(line.strip() for line in sections.get("readers", [])),
    )


def _accelerators(facts: AcceleratorFacts) -> tuple[dict[str, int], dict[str, int]]:
    """Accelerators of the catalog by our name, and other devices of their vendors by PCI ids."""
    by_device = {
        device: name for name, accelerator in catalog.accelerators().items() for device in accelerator.device_ids
    }
    kinds = Counter(by_device[card["device"]] for card in facts["pci"] if card["device"] in by_device)
    unknown = Counter(f"{card['vendor']}:{card['device']}" for card in facts["pci"] if card["device"] not in by_device)
    return dict(kinds), dict(unknown)


def _first(sections: dict[str, list[str]], name: str) -> str:
    return next(iter(sections.get(name, [])), "").strip()


def _address(text: str) -> str:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return ""
    mapped = getattr(address, "ipv4_mapped", None)  # an sshd that listens on IPv6 alone calls IPv4 so
    return str(mapped or address)
