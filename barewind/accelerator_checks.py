"""Accelerators as they are against what a host shall serve with. Pure: facts in, problems out.

Here is what holds for every vendor and what a deploy cannot mend: cards, their health, the firmware's settings.
Software is looked at in `nvidia_checks` and `amd_checks`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator

from barewind import amd_checks, catalog, nvidia_checks
from barewind.catalog import Accelerator
from barewind.facts.accelerators import AcceleratorFacts
from barewind.facts.gpus import Gpu
from barewind.facts.pci import Card
from barewind.plan import EnginePlan
from barewind.problem import Problem

_OWN_MODULE = {"nvidia": "nvidia", "amd": "amdgpu"}
_VENDOR_IDS = {"nvidia": "10de", "amd": "1002"}
_SHARED_MEMORY = 32 * 2**30  # bytes; containers share the host's /dev/shm, without that the vendors' guides say 32 GiB
_TOLERANCE = 0.95  # /dev/shm is half of a memory of which the kernel keeps a share; drivers keep some of the cards'
_XIDS = {
    "48": "memory error beyond repair",
    "64": "memory that could not be mapped out",
    "74": "NVLink error",
    "79": "the card fell off the bus",
    "95": "memory error that reached every program",
    "119": "the card's own processor does not answer",
    "120": "the card's own processor failed",
}

Finding = tuple[str, str]  # and its remedy


def check(plan: EnginePlan, facts: AcceleratorFacts, *, ready: bool) -> list[Problem]:
    """Every problem of a host's accelerators.

    + plan: what the host shall serve
    + facts: its accelerators as they are
    + ready: whether everything must be in place; False before a deploy that installs drivers, whose work is no problem
    """
    wanted = catalog.accelerators()[plan.spec.accelerator]
    if wanted.vendor == "none":
        return []
    found = list(_identity(plan, wanted, facts))
    mine = [card for card in facts["pci"] if card["vendor"] == _VENDOR_IDS[wanted.vendor]]
    if mine or any(gpu["vendor"] == wanted.vendor for gpu in facts["gpus"]):
        found += [*_bound(wanted, mine, ready), *_missing(plan, wanted, facts, mine), *_health(wanted, facts)]
        found += _secure_boot(plan, wanted, facts)
    if ready and _is_kind(wanted, _cards(wanted, facts), facts["gpus"]):  # others need other software
        software = nvidia_checks if wanted.vendor == "nvidia" else amd_checks
        found += software.ready(plan, wanted, facts)
    found += [*_image(plan, wanted), *_shared_memory(facts)]
    return [Problem(plan.spec.host, finding, remedy) for finding, remedy in found]


def _identity(plan: EnginePlan, wanted: Accelerator, facts: AcceleratorFacts) -> Iterator[Finding]:
    """Other accelerators than the inventory says, or another number: by name where a tool tells them, else by PCI id."""
    spec = plan.spec
    cards, gpus = _cards(wanted, facts), facts["gpus"]
    says = f"the inventory says {spec.accelerator_count} x {spec.accelerator}"
    correct = "correct 'accelerator' and 'accelerator_count' for this host"
    if not cards and not gpus:
        yield f"has no accelerator on its PCI bus, {says}", f"{correct}, or look for a failed card"
        return
    named = gpus and all(gpu["name"] for gpu in gpus) and len(gpus) == (len(cards) or len(gpus))
    kinds = Counter(gpu["name"] for gpu in gpus) if named else Counter(_kind(card) for card in cards)
    right = _is_kind(wanted, cards, gpus)
    seen = ", ".join(f"{count} x {kind}" for kind, count in kinds.items())
    if len(kinds) > 1 and not right:
        yield f"has {seen}, {says}", f"one engine needs accelerators of one kind: take the others out, or {correct}"
    elif not right or sum(kinds.values()) != spec.accelerator_count:
        yield f"has {seen}, {says}", f"{correct}, or look for a failed card"


def _is_kind(wanted: Accelerator, cards: list[Card], gpus: list[Gpu]) -> bool:
    """Whether all of them are what the inventory says; a name counts for more than an id, of which there are variants."""
    if any(card["vendor"] != _VENDOR_IDS[wanted.vendor] for card in cards):
        return False
    if gpus:
        return all(gpu["vendor"] == wanted.vendor and wanted.is_called(gpu["name"] or wanted.names[0]) for gpu in gpus)
    return bool(cards) and all(card["device"] in wanted.device_ids for card in cards)


def _cards(wanted: Accelerator, facts: AcceleratorFacts) -> list[Card]:
    """The cards that an engine would see, and accelerators of the other vendor; a display adapter of that is none."""
    known = {device for one in catalog.accelerators().values() for device in one.device_ids}
    mine = _VENDOR_IDS[wanted.vendor]
    return [card for card in facts["pci"] if card["vendor"] == mine or card["device"] in known]


def _kind(card: Card) -> str:
    """Our name of a card, or its PCI ids as lspci -nn prints them."""
    names = (name for name, one in catalog.accelerators().items() if card["device"] in one.device_ids)
    return next(names, f"{card['vendor']}:{card['device']}")


def _bound(wanted: Accelerator, cards: list[Card], ready: bool) -> Iterator[Finding]:
    """Cards in other drivers' hands. The vendor's driver takes them from nouveau when it is installed."""
    by_driver: dict[str, list[str]] = {}
    for card in cards:
        if card["driver"] not in ("", _OWN_MODULE[wanted.vendor]):
            by_driver.setdefault(card["driver"], []).append(card["address"])
    for driver, addresses in by_driver.items():
        where = f"{', '.join(addresses)} belong{'s' if len(addresses) == 1 else ''} to the driver {driver}"
        if driver == "nouveau":
            if ready:
                yield where, "echo blacklist nouveau > /etc/modprobe.d/nouveau.conf; update-initramfs -u; reboot"
        else:
            yield (
                f"{where}, which keeps cards for virtual machines",
                f"take their ids off /etc/modprobe.d and the kernel parameter {driver}.ids; update-initramfs -u; reboot",
            )


def _missing(plan: EnginePlan, wanted: Accelerator, facts: AcceleratorFacts, mine: list[Card]) -> Iterator[Finding]:
    """Cards on the bus that the tool does not show, or more of them than there are cards."""
    own = ("", _OWN_MODULE[wanted.vendor])
    gpus, tool = facts["gpus"], facts["tool"]
    cards = [card["address"] for card in mine if card["driver"] in own]
    shown = {_address(gpu["bus"]) for gpu in gpus}
    if 0 < len(gpus) < len(cards):
        absent = "" if "" in shown else f", not {', '.join(one for one in cards if one not in shown)}"
        said = f" ({facts['tool_error']})" if facts["tool_error"] else ""
        yield (
            f"{tool} shows {len(gpus)} of {len(cards)} accelerators{absent}{said}",
            "look at: journalctl -k -b; power the host off and on; have the card replaced if it stays away",
        )
    elif 0 < len(cards) < len(gpus) and wanted.vendor == "amd":
        yield (
            f"{tool} shows {len(gpus)} accelerators for {len(cards)} cards: they are partitioned",
            "amd-smi set --memory-partition NPS1; amd-smi set --compute-partition SPX",
        )
    elif gpus and facts["tool_error"] and tool == "nvidia-smi":
        yield f"nvidia-smi complains: {facts['tool_error']}", "reboot; have the card replaced if it says so again"
    small = [gpu for gpu in gpus if (gpu["memory_mib"] or wanted.memory_mib) < wanted.memory_mib * _TOLERANCE]
    if small and all(wanted.is_called(gpu["name"]) for gpu in small if gpu["name"]) and len(gpus) <= len(cards):
        yield (
            f"{_which(gpus, small)} report{'s' if len(small) == 1 else ''} {small[0]['memory_mib']} MiB of memory, "
            f"{plan.spec.accelerator} has {wanted.memory_mib}",
            "look for a partition mode or a virtual function; the whole card is needed",
        )


def _health(wanted: Accelerator, facts: AcceleratorFacts) -> Iterator[Finding]:
    gpus, nvidia = facts["gpus"], wanted.vendor == "nvidia"
    look = "nvidia-smi -q -d ECC,ROW_REMAPPER" if nvidia else "amd-smi metric --ecc; amd-smi bad-pages"
    if sliced := [gpu for gpu in gpus if gpu["mig"]]:
        yield f"MIG is on for {_which(gpus, sliced)}: an engine would see slices of it", "nvidia-smi -mig 0; reboot"
    for gpu in gpus:
        if gpu["ecc_errors"]:
            yield (
                f"{_which(gpus, [gpu])}: {gpu['ecc_errors']} uncorrectable memory errors since the driver was loaded",
                f"look at: {look}; reboot; have the card replaced if they come back",
            )
    if waiting := [gpu for gpu in gpus if gpu["repair_pending"]]:
        yield f"{_which(gpus, waiting)}: failed memory waits for a reset to be mapped out", f"reboot; look at: {look}"
    if errors := facts["kernel_errors"]:
        known = re.search(r"Xid \(PCI:[^)]*\): (\d+)", errors[-1])
        meaning = f" (Xid {known[1]}: {_XIDS[known[1]]})" if known and known[1] in _XIDS else ""
        yield (
            f"{len(errors)} accelerator error{'s' if len(errors) > 1 else ''} in the kernel log since boot, the last: "
            f"{errors[-1]}{meaning}",
            "look it up in NVIDIA's Xid catalog; " * nvidia + "reboot; have the card replaced if it comes back",
        )


def _which(gpus: list[Gpu], some: Iterable[Gpu]) -> str:
    """GPUs by their number, as the tools count them."""
    return "GPU " + ", ".join(str(number) for number, gpu in enumerate(gpus) if any(gpu is one for one in some))


def _secure_boot(plan: EnginePlan, wanted: Accelerator, facts: AcceleratorFacts) -> Iterator[Finding]:
    """DKMS signs modules with a key that only someone at the console can have the firmware trust."""
    kernel, module = facts["kernel"], facts["modules"]["nvidia" if wanted.vendor == "nvidia" else "amdgpu"]
    if plan.spec.accelerator_drivers == "external":
        open_question = module["loaded"] is None  # what is loaded has passed
    else:
        there = (
            module["loaded"] == plan.spec.nvidia_driver if wanted.vendor == "nvidia" else module["flavour"] == "dkms"
        )
        open_question = not (there and module["loaded"]) and kernel["key_enrolled"] is not True
    if kernel["secure_boot"] and open_question:
        yield (
            "Secure Boot is on, and the firmware is not known to trust the key that DKMS signs drivers with",
            "switch Secure Boot off in the firmware; or: apt install dkms mokutil; dkms generate_mok; "
            "mokutil --import /var/lib/dkms/mok.pub (Ubuntu: update-secureboot-policy --new-key, --enroll-key); "
            "reboot and confirm at the console",
        )


def _image(plan: EnginePlan, wanted: Accelerator) -> Iterator[Finding]:
    """The image's ROCm against the accelerator; CUDA is looked at with the driver."""
    floor = wanted.driver_floor.get("rocm")
    if plan.rocm and floor and amd_checks.older(plan.rocm, floor):
        yield (
            f"the image's ROCm {plan.rocm} is older than {floor}, the first for {plan.spec.accelerator}",
            "name a newer 'image', then: barewind lock INVENTORY",
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
