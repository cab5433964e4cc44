"""Hardware of hosts with simulated accelerators: cards, switches, processor, operating system. Data only.

A host has it as /etc/lab/hardware.json, from which lab/simulated/ makes the kernel's interfaces. Names and memory (MiB)
are what the vendors' tools report; PCI addresses are those of common eight-way servers.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TypedDict

from lab.topology import Host

_NAMESPACE = uuid.UUID("6f0f5a62-4a8b-4c52-9a58-1f2b7a3f77aa")  # so that a host's cards keep their ids


class PciDevice(TypedDict):
    """A device on the PCI bus, its ids as in sysfs. `driver`: which the kernel binds to it."""

    address: str
    vendor: str
    device: str
    pci_class: str
    driver: str


class Card(TypedDict):
    """An accelerator."""

    address: str
    uuid: str
    serial: str
    node: int  # NUMA node, one for each of two sockets


class Hardware(TypedDict):
    """Content of hardware.json. `memory_mib`: of each accelerator.

    `open_modules_only`: the proprietary kernel modules do not drive it. `switches`: it needs the fabric manager.
    """

    kind: str
    vendor: str
    name: str
    memory_mib: int
    device: str
    pci_class: str
    compute_capability: str
    open_modules_only: bool
    switches: bool
    subnet_manager: bool
    cpu_vendor: str
    cards: list[Card]
    others: list[PciDevice]


@dataclass(frozen=True)
class System:
    """The operating system that a host claims to be; all are Debian 12."""

    name: str  # as in vendors.yaml
    os_release: dict[str, str]


SYSTEMS = {
    "hopper": System(
        "debian 12",
        {
            "PRETTY_NAME": "Debian GNU/Linux 12 (bookworm)",
            "NAME": "Debian GNU/Linux",
            "VERSION_ID": "12",
            "VERSION": "12 (bookworm)",
            "VERSION_CODENAME": "bookworm",
            "ID": "debian",
        },
    ),
    "blackwell": System(
        "ubuntu 24.04",
        {
            "PRETTY_NAME": "Ubuntu 24.04.3 LTS",
            "NAME": "Ubuntu",
            "VERSION_ID": "24.04",
            "VERSION": "24.04.3 LTS (Noble Numbat)",
            "VERSION_CODENAME": "noble",
            "ID": "ubuntu",
            "ID_LIKE": "debian",
            "UBUNTU_CODENAME": "noble",
        },
    ),
    "mi300x": System(
        "ubuntu 22.04",
        {
            "PRETTY_NAME": "Ubuntu 22.04.5 LTS",
            "NAME": "Ubuntu",
            "VERSION_ID": "22.04",
            "VERSION": "22.04.5 LTS (Jammy Jellyfish)",
            "VERSION_CODENAME": "jammy",
            "ID": "ubuntu",
            "ID_LIKE": "debian",
            "UBUNTU_CODENAME": "jammy",
        },
    ),
}

_NVIDIA_SLOTS = ("1b", "43", "52", "61", "9d", "c3", "d1", "df")
_AMD_SLOTS = ("0c", "22", "38", "5c", "9f", "af", "bf", "df")

# The server's graphics chip for its console: of the same class as an accelerator, of another vendor.
_CONSOLE: PciDevice = {
    "address": "0000:03:00.0",
    "vendor": "0x1a03",
    "device": "0x2000",
    "pci_class": "0x030000",
    "driver": "ast",
}


def describe(host: Host) -> Hardware:
    """The hardware of a host with simulated accelerators; ValueError for other hosts."""
    slots = _AMD_SLOTS if host.kind == "mi300x" else _NVIDIA_SLOTS
    cards: list[Card] = [
        {
            "address": f"0000:{slot}:00.0",
            "uuid": str(uuid.uuid5(_NAMESPACE, f"{host.name} {slot}")),
            "serial": str(1650000000000 + uuid.uuid5(_NAMESPACE, f"{host.name} {slot}").int % 10**9),
            "node": number * 2 // len(slots),
        }
        for number, slot in enumerate(slots)
    ]
    if host.kind == "hopper":
        # HGX H100: four NVSwitches of the third generation, which show up as PCI bridges.
        switches = [_pci(f"0000:{number:02x}:00.0", "0x10de", "0x22a3", "0x068000") for number in range(7, 11)]
        return _hardware(host, "nvidia", "NVIDIA H100 80GB HBM3", 81559, "0x2330", "9.0", cards, switches)
    if host.kind == "blackwell":
        # HGX B200: the switches are behind ConnectX-7 bridges, which nvlsm manages over InfiniBand.
        bridges = [_pci(f"0000:{number:02x}:00.0", "0x15b3", "0x1021", "0x020700", "mlx5_core") for number in (5, 6)]
        return _hardware(host, "nvidia", "NVIDIA B200", 183359, "0x2901", "10.0", cards, bridges)
    if host.kind == "mi300x":
        return _hardware(host, "amd", "AMD Instinct MI300X", 196592, "0x74a1", "gfx942", cards, [])
    raise ValueError(f"{host.name} has no simulated accelerators")


def os_release(kind: str) -> str:
    """Text of /etc/os-release for hosts of a kind."""
    return "".join(
        f'{key}="{value}"\n' if " " in value else f"{key}={value}\n" for key, value in SYSTEMS[kind].os_release.items()
    )


def _pci(address: str, vendor: str, device: str, pci_class: str, driver: str = "") -> PciDevice:
    return {"address": address, "vendor": vendor, "device": device, "pci_class": pci_class, "driver": driver}


def _hardware(
    host: Host,
    vendor: str,
    name: str,
    memory: int,
    device: str,
    capability: str,
    cards: list[Card],
    others: list[PciDevice],
) -> Hardware:
    return {
        "kind": host.kind,
        "vendor": vendor,
        "name": name,
        "memory_mib": memory,
        "device": device,
        "pci_class": "0x120000" if vendor == "amd" else "0x030200",  # processing accelerator, 3D controller
        "compute_capability": capability,
        "open_modules_only": host.kind == "blackwell",
        "switches": vendor == "nvidia",
        "subnet_manager": host.kind == "blackwell",
        "cpu_vendor": "GenuineIntel",
        "cards": cards,
        "others": [*others, _CONSOLE],
    }
