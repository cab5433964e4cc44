"""Accelerators as they are against what a host shall serve with. Pure: facts in, problems out.

Here is what holds for every vendor and what a deploy cannot mend: cards, their health, the firmware's settings.
Software is looked at by each vendor's own checks.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from barewind import catalog
from barewind.catalog import Accelerator
from barewind.drivers.base import Vendor
from barewind.drivers.gpus import Gpu, which
from barewind.drivers.model import AcceleratorFacts, Finding
from barewind.drivers.pci import Card
from barewind.drivers.vendors import VENDORS, vendor_of
from barewind.hosts.problem import Problem
from barewind.plan.engine import EnginePlan

_SHARED_MEMORY = 32 * 2**30  # bytes; containers share the host's /dev/shm, without that the vendors' guides say 32 GiB
_TOLERANCE = 0.95  # /dev/shm is half of a memory of which the kernel keeps a share; drivers keep some of the cards'


def check(plan: EnginePlan, facts: AcceleratorFacts, *, ready: bool) -> list[Problem]:
    """Every problem of a host's accelerators.

    + plan: what the host shall serve
    + facts: its accelerators as they are
    + ready: whether everything must be in place; False before a deploy that installs drivers, whose work is no problem
    """
    vendor = vendor_of(plan.spec)
    if vendor is None:
        return []
    wanted = catalog.accelerators()[plan.spec.accelerator]
    findings = list(_identity(plan, vendor, wanted, facts))
    cards = [card for card in facts["pci"] if card["vendor"] == vendor.pci_vendor]
    if cards or any(gpu["vendor"] == vendor.name for gpu in facts["gpus"]):
        findings += _bound(vendor, cards, ready)
        findings += _missing(plan, vendor, wanted, facts, cards)
        findings += _health(vendor, facts)
        findings += _secure_boot(plan, vendor, facts)
    if ready and _is_kind(vendor, wanted, _cards(vendor, facts), facts["gpus"]):  # others need other software
        findings += vendor.ready(plan, wanted, facts)
    findings += [*vendor.image(plan, wanted), *_shared_memory(facts)]
    return [Problem(plan.spec.host, finding, remedy) for finding, remedy in findings]


def _identity(plan: EnginePlan, vendor: Vendor, wanted: Accelerator, facts: AcceleratorFacts) -> Iterator[Finding]:
    """Other accelerators than the inventory says, or another number: by name where a tool tells them, else by PCI id."""
    spec = plan.spec
    cards, gpus = _cards(vendor, facts), facts["gpus"]
    says = f"the inventory says {spec.accelerator_count} x {spec.accelerator}"
    correct = "correct 'accelerator' and 'accelerator_count' for this host"
    if not cards and not gpus:
        yield f"has no accelerator on its PCI bus, {says}", f"{correct}, or look for a failed card"
        return
    named = gpus and all(gpu["name"] for gpu in gpus) and len(gpus) == (len(cards) or len(gpus))
    kinds = Counter(gpu["name"] for gpu in gpus) if named else Counter(_kind(card) for card in cards)
    right = _is_kind(vendor, wanted, cards, gpus)
    seen = ", ".join(f"{count} x {kind}" for kind, count in kinds.items())
    if len(kinds) > 1 and not right:
        yield f"has {seen}, {says}", f"one engine needs accelerators of one kind: take the others out, or {correct}"
    elif not right or sum(kinds.values()) != spec.accelerator_count:
        yield f"has {seen}, {says}", f"{correct}, or look for a failed card"


def _is_kind(vendor: Vendor, wanted: Accelerator, cards: list[Card], gpus: list[Gpu]) -> bool:
    """Whether all of them are what the inventory says: by name, of which ids have variants; by id where a name says little."""
    if any(card["vendor"] != vendor.pci_vendor for card in cards):
        return False
    if gpus:
        return all(gpu["vendor"] == vendor.name and _is_called(vendor, wanted, gpu, cards) for gpu in gpus)
    return bool(cards) and all(card["device"] in wanted.device_ids for card in cards)


def _is_called(vendor: Vendor, wanted: Accelerator, gpu: Gpu, cards: list[Card]) -> bool:
    """Whether a tool's name of a card is this accelerator's. Where it names no product ("AMD Radeon Graphics", "MI300X-O", ""),
    the card's PCI id decides, or those of all cards, if the tool does not tell which it is."""
    if gpu["name"] and re.match(vendor.product_name, gpu["name"]):
        return wanted.is_called(gpu["name"])
    at = [card for card in cards if gpu["bus"] and card["address"] == _address(gpu["bus"])] or cards
    if not at:
        return not gpu["name"]  # nothing tells otherwise
    return all(card["device"] in wanted.device_ids for card in at)


def _cards(vendor: Vendor, facts: AcceleratorFacts) -> list[Card]:
    """The cards that an engine would see, and accelerators of other vendors; a display adapter of those is none."""
    known = {device for accelerator in catalog.accelerators().values() for device in accelerator.device_ids}
    return [card for card in facts["pci"] if card["vendor"] == vendor.pci_vendor or card["device"] in known]


def _kind(card: Card) -> str:
    """Our name of a card, or its PCI ids as lspci -nn prints them."""
    names = (name for name, known in catalog.accelerators().items() if card["device"] in known.device_ids)
    return next(names, f"{card['vendor']}:{card['device']}")


def _bound(vendor: Vendor, cards: list[Card], ready: bool) -> Iterator[Finding]:
    """Cards in other drivers' hands. Those of the driver that the vendor's replaces are taken over when it is installed."""
    by_driver: dict[str, list[str]] = {}
    for card in cards:
        if card["driver"] not in ("", vendor.module):
            by_driver.setdefault(card["driver"], []).append(card["address"])
    for driver, addresses in by_driver.items():
        where = f"{', '.join(addresses)} belong{'s' if len(addresses) == 1 else ''} to the driver {driver}"
        if driver == vendor.replaced_driver:
            if ready:
                yield where, f"echo blacklist {driver} > /etc/modprobe.d/{driver}.conf; update-initramfs -u; reboot"
        else:
            yield (
                f"{where}, which keeps cards for virtual machines",
                f"take their ids off /etc/modprobe.d and the kernel parameter {driver}.ids; update-initramfs -u; reboot",
            )


def _missing(
    plan: EnginePlan, vendor: Vendor, wanted: Accelerator, facts: AcceleratorFacts, on_bus: list[Card]
) -> Iterator[Finding]:
    """Cards on the bus that the tool does not show, or more of them than there are cards."""
    gpus, tool = facts["gpus"], facts["tool"]
    cards = [card["address"] for card in on_bus if card["driver"] in ("", vendor.module)]
    shown = {_address(gpu["bus"]) for gpu in gpus}
    if 0 < len(gpus) < len(cards):
        absent = "" if "" in shown else f", not {', '.join(address for address in cards if address not in shown)}"
        complaint = f" ({facts['tool_error']})" if facts["tool_error"] else ""
        yield (
            f"{tool} shows {len(gpus)} of {len(cards)} accelerators{absent}{complaint}",
            "look at: journalctl -k -b; power the host off and on; have the card replaced if it stays away",
        )
    elif 0 < len(cards) < len(gpus) and vendor.partition_help:
        yield (
            f"{tool} shows {len(gpus)} accelerators for {len(cards)} cards: they are partitioned",
            vendor.partition_help,
        )
    elif gpus and facts["tool_error"] and tool in {known.strict_tool for known in VENDORS.values()}:
        yield f"{tool} complains: {facts['tool_error']}", "reboot; have the card replaced if it says so again"
    reported = wanted.reported_mib
    small = [gpu for gpu in gpus if (gpu["memory_mib"] or reported) < reported * _TOLERANCE]
    if small and all(_is_called(vendor, wanted, gpu, on_bus) for gpu in small) and len(gpus) <= len(cards):
        yield (
            f"{which(gpus, small)} report{'s' if len(small) == 1 else ''} {small[0]['memory_mib']} MiB of memory, "
            f"{plan.spec.accelerator} has {reported}",
            "look for a partition mode or a virtual function; the whole card is needed",
        )


def _health(vendor: Vendor, facts: AcceleratorFacts) -> Iterator[Finding]:
    gpus = facts["gpus"]
    yield from vendor.health(facts)
    for gpu in gpus:
        if gpu["ecc_errors"]:
            yield (
                f"{which(gpus, [gpu])}: {gpu['ecc_errors']} uncorrectable memory errors since the driver was loaded",
                f"look at: {vendor.memory_help}; reboot; have the card replaced if they come back",
            )
    if waiting := [gpu for gpu in gpus if gpu["repair_pending"]]:
        yield (
            f"{which(gpus, waiting)}: failed memory waits for a reset to be mapped out",
            f"reboot; look at: {vendor.memory_help}",
        )
    if errors := facts["kernel_errors"]:
        yield (
            f"{len(errors)} accelerator error{'s' if len(errors) > 1 else ''} in the kernel log since boot, the last: "
            f"{errors[-1]}{vendor.explain_error(errors[-1])}",
            (f"{vendor.error_help}; " if vendor.error_help else "") + "reboot; have the card replaced if it comes back",
        )


def _secure_boot(plan: EnginePlan, vendor: Vendor, facts: AcceleratorFacts) -> Iterator[Finding]:
    """DKMS signs modules with a key that only someone at the console can have the firmware trust."""
    kernel, module = facts["kernel"], facts["modules"][vendor.module]
    if plan.spec.accelerator_drivers == "external":
        open_question = module["loaded"] is None  # what is loaded has passed
    else:
        open_question = not vendor.is_planned(plan.spec, module) and kernel["key_enrolled"] is not True
    if kernel["secure_boot"] and open_question:
        yield (
            "Secure Boot is on, and the firmware is not known to trust the key that DKMS signs drivers with",
            "switch Secure Boot off in the firmware; or: apt install dkms mokutil; dkms generate_mok; "
            "mokutil --import /var/lib/dkms/mok.pub (Ubuntu: update-secureboot-policy --new-key, --enroll-key); "
            "reboot and confirm at the console",
        )


def _shared_memory(facts: AcceleratorFacts) -> Iterator[Finding]:
    size = facts["shm_bytes"]
    if size is not None and size < _SHARED_MEMORY * _TOLERANCE:
        yield (
            f"/dev/shm holds {size / 2**30:.1f} GiB, engines on several accelerators want {_SHARED_MEMORY // 2**30} GiB",  # noqa: S108
            "mount -o remount,size=32G /dev/shm; in /etc/fstab: tmpfs /dev/shm tmpfs defaults,size=32G 0 0",
        )


def _address(bus: str) -> str:
    """A PCI address as the kernel writes it: 00000000:3D:00.0 -> 0000:3d:00.0."""
    return bus.lower()[4:] if re.fullmatch(r"0000[0-9a-f]{4}:.+", bus.lower()) else bus.lower()
