"""Simulated kernel modules: what lies on disk, and what loading and unloading does to the kernel's interfaces.

A module on disk is a text file where the real one is (/lib/modules/RELEASE/...) with the fields that modinfo prints.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from lab.simulated import host
from lab.simulated.host import Json

# Modules that come and go together; the first one's version is that of all.
NVIDIA = ("nvidia", "nvidia_uvm", "nvidia_modeset", "nvidia_drm")
DRIVERS = {"nvidia": "0x10de", "nouveau": "0x10de", "amdgpu": "0x1002"}  # driver -> vendor of the cards it binds
COMPANIONS = {"amdgpu": ("amdttm", "amdkcl", "amd_sched"), "ib_umad": ("ib_core",)}
BLACKLISTS = ("/etc/modprobe.d", "/run/modprobe.d", "/lib/modprobe.d")
NULL = os.makedev(1, 3)  # every simulated device node is a null device


class Refused(Exception):
    """The kernel does not take the module; the message is that of the system call's error."""


def on_disk(name: str, release: str | None = None) -> Path | None:
    """The file of a module; what DKMS built comes before what the kernel brought."""
    folder = Path("/lib/modules") / (release or host.release())
    for root in (folder / "updates" / "dkms", folder / "kernel"):
        for path in sorted(root.glob(f"**/{name.replace('_', '-')}.ko")) + sorted(root.glob(f"**/{name}.ko")):
            return path
    return None


def fields(path: Path) -> dict[str, str]:
    """What a module's file says of it: version, license, description, ..."""
    return dict(line.split("=", 1) for line in path.read_text().splitlines() if "=" in line)


def blacklisted(name: str) -> bool:
    """Is a module kept from loading by itself?"""
    for folder in BLACKLISTS:
        for path in Path(folder).glob("*.conf"):
            if any(line.split() == ["blacklist", name] for line in path.read_text().splitlines()):
                return True
    return False


def autoload() -> None:
    """What udev does at boot: load a module for each kind of card."""
    if host.knobs().get("vfio"):
        bind("vfio-pci", [host.cards()[index]["address"] for index in host.knobs()["vfio"]])
    vendor = host.hardware()["vendor"]
    names = ["nouveau", "nvidia"] if vendor == "nvidia" else ["amdgpu"]
    for name in names:
        if name == "nouveau" and not host.knobs().get("nouveau"):
            continue
        if on_disk(name) and not blacklisted(name):
            _try(name)


def listed() -> list[str]:
    """Modules that modules-load.d wants at boot."""
    names = []
    for path in sorted(Path("/etc/modules-load.d").glob("*.conf")):
        lines = path.read_text().splitlines() if path.is_file() else []  # Debian's is a link to nowhere
        names += [line.strip() for line in lines if line.strip() and not line.startswith(("#", ";"))]
    return names


def _try(name: str) -> None:
    try:
        load(name)
    except Refused as refused:
        host.kernel_log(f"{name}: {refused}", 3)


def load(name: str) -> None:
    """Load a module from disk; a second time changes nothing, as with the real ones."""
    name = name.replace("-", "_")
    if host.loaded(name):
        return
    path = on_disk(name)
    if path is None:
        raise FileNotFoundError(name)
    says = fields(path)
    knobs = host.knobs()
    if "updates" in path.parts and knobs.get("secure_boot") and not knobs.get("key_enrolled"):
        host.kernel_log(f"Loading of unsigned module is rejected: {name}", 5)
        raise Refused("Key was rejected by service")
    if name in NVIDIA:
        load_nvidia(says)
    else:
        load_other(name, says)


def load_nvidia(says: dict[str, str]) -> None:
    """The NVIDIA modules: driver bound, /proc/driver/nvidia, device nodes."""
    hardware, version = host.hardware(), says["version"]
    flavour = "proprietary" if says["license"] == "NVIDIA" else "open"
    cards = _free_cards("nvidia")
    host.kernel_log("nvidia: loading out-of-tree module taints kernel.", 4)
    if not cards:
        host.kernel_log("NVRM: No NVIDIA GPU found.", 4)
        raise Refused("No such device")
    if hardware["open_modules_only"] and flavour == "proprietary":
        for address in cards:
            host.kernel_log(
                f"NVRM: The NVIDIA GPU {address} (PCI ID: 10de:{hardware['device'][2:]})\n"
                "NVRM: installed in this system requires use of the NVIDIA open kernel modules.",
                3,
            )
        host.kernel_log("NVRM: None of the NVIDIA devices were initialized.", 3)
        raise Refused("No such device")
    for module in NVIDIA:
        _appear(module, version)
    line = f"NVIDIA UNIX x86_64 Kernel Module  {version}  Sat Nov 22 00:00:00 UTC 2025"
    if flavour == "open":
        line = f"NVIDIA UNIX Open Kernel Module for x86_64  {version}  Release Build  (lab@lab)  Sat Nov 22 00:00:00 UTC 2025"
    host.write(
        host.PROC_DRIVER / "nvidia" / "version",
        f"NVRM version: {line}\nGCC version:  gcc version 12.2.0 (Debian 12.2.0-14+deb12u1) \n",
    )
    for number, card in enumerate(host.cards()):
        host.write(
            host.PROC_DRIVER / "nvidia" / "gpus" / card["address"] / "information",
            f"Model: \t\t {hardware['name']}\nGPU UUID: \t GPU-{card['uuid']}\nDevice Minor: \t {number}\n",
        )
    host.NVIDIA.mkdir(exist_ok=True)
    bind("nvidia", cards)
    _nodes(nvidia_nodes(bound("nvidia")))
    host.kernel_log(f"NVRM: loading {line}")


def load_other(name: str, says: dict[str, str]) -> None:
    """amdgpu, nouveau, ib_umad: the kernel's own modules have no version."""
    if name in DRIVERS:
        cards = _free_cards(name)
        if cards:
            bind(name, cards)
    for module in (name, *(other for other in COMPANIONS.get(name, ()) if on_disk(other))):
        _appear(module, says.get("version"))
    if name == "amdgpu":
        _nodes(amd_nodes(bound("amdgpu")))
        describe_memory()
        host.kernel_log(
            f"[drm] amdgpu version: {says['version']}"
            if "version" in says
            else "[drm] amdgpu kernel modesetting enabled."
        )
    if name == "ib_umad":
        _nodes([(f"/dev/infiniband/umad{n}", 0o660, "root") for n in range(2)])


def unload(name: str) -> None:
    """Unload a module and what came with it."""
    name = name.replace("-", "_")
    if not host.loaded(name):
        raise FileNotFoundError(name)
    if name in NVIDIA:
        if name == "nvidia" and in_use():
            raise Refused("Module nvidia is in use")
        shutil.rmtree(host.PROC_DRIVER / "nvidia", ignore_errors=True)
        shutil.rmtree(host.NVIDIA, ignore_errors=True)
        together: tuple[str, ...] = NVIDIA
        _remove_nodes(nvidia_nodes(range(len(host.cards()))))
    else:
        together = (name, *COMPANIONS.get(name, ()))
        if name == "amdgpu":
            _remove_nodes(amd_nodes(range(len(host.cards()))))
    for module in together:
        shutil.rmtree(host.MODULE / module, ignore_errors=True)
    for folder in (host.PCI / "devices").iterdir():
        link = folder / "driver"
        if link.is_symlink() and link.readlink().name == name:
            link.unlink()
    list_modules()


def in_use() -> bool:
    """Do daemons hold the NVIDIA driver? They write their process ids into its state."""
    return any(Path(f"/proc/{path.read_text().strip()}").exists() for path in host.NVIDIA.glob("*.pid"))


def bind(driver: str, addresses: list[str]) -> None:
    """Have a driver own devices of the PCI bus."""
    (host.PCI / "drivers" / driver).mkdir(parents=True, exist_ok=True)
    for address in addresses:
        link = host.PCI / "devices" / address / "driver"
        link.unlink(missing_ok=True)
        link.symlink_to(f"../../../bus/pci/drivers/{driver}")


def _free_cards(driver: str) -> list[str]:
    """Addresses of cards of the driver's vendor that nobody has bound."""
    if host.hardware()["vendor"] != ("amd" if driver == "amdgpu" else "nvidia"):
        return []
    return [
        card["address"] for card in host.cards() if not (host.PCI / "devices" / card["address"] / "driver").is_symlink()
    ]


def _appear(module: str, version: str | None) -> None:
    folder = host.MODULE / module
    host.write(folder / "initstate", "live\n")
    host.write(folder / "refcnt", "0\n")
    if version:
        host.write(folder / "version", version + "\n")
    list_modules()


def loaded_modules() -> Iterator[str]:
    """Names of the simulated modules that are loaded."""
    return (path.name for path in sorted(host.MODULE.iterdir()) if host.loaded(path.name))


def list_modules() -> None:
    """/proc/modules, rewritten in place: it is a bind mount."""
    path = host.FILES / "modules"
    if path.exists():
        path.write_text("".join(f"{name} 16384 0 - Live 0x0000000000000000\n" for name in loaded_modules()))


Node = tuple[str, int, str]  # path, mode, group


def bound(driver: str) -> list[int]:
    """Indices of the cards that a driver has bound."""
    links = [host.PCI / "devices" / card["address"] / "driver" for card in host.cards()]
    return [number for number, link in enumerate(links) if link.is_symlink() and link.readlink().name == driver]


def nvidia_nodes(cards: Iterable[int]) -> list[Node]:
    """Device nodes of the NVIDIA driver. The real one counts only the cards that it has; here each keeps its number."""
    names = [f"nvidia{number}" for number in cards]
    names += ["nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset"]
    if host.hardware()["kind"] == "hopper":
        names += ["nvidia-nvswitchctl", *(f"nvidia-nvswitch{number}" for number in range(4))]
    return [(f"/dev/{name}", 0o666, "root") for name in names]


def amd_nodes(cards: Iterable[int]) -> list[Node]:
    """Device nodes of amdgpu and its compute part."""
    nodes: list[Node] = [("/dev/kfd", 0o660, "render")]
    for number in cards:
        nodes += [(f"/dev/dri/card{1 + number}", 0o660, "video"), (f"/dev/dri/renderD{128 + number}", 0o660, "render")]
    return nodes


def _nodes(nodes: list[Node]) -> None:
    groups = dict(line.split(":")[0:3:2] for line in Path("/etc/group").read_text().splitlines())
    for name, mode, group in nodes:
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            os.mknod(path, stat.S_IFCHR | mode, NULL)
        os.chown(path, 0, int(groups.get(group, 0)))
        path.chmod(mode)


def _remove_nodes(nodes: list[Node]) -> None:
    for name, _, _ in nodes:
        Path(name).unlink(missing_ok=True)


def describe_pci() -> None:
    """(Re)make the PCI bus: cards and other devices, each with its ids; drivers stay bound where they are."""
    hardware: Json = host.hardware()
    vendor = "0x10de" if hardware["vendor"] == "nvidia" else "0x1002"
    present = {card["address"]: (vendor, hardware["device"], hardware["pci_class"], "") for card in host.cards()} | {
        one["address"]: (one["vendor"], one["device"], one["pci_class"], one["driver"]) for one in hardware["others"]
    }
    devices = host.PCI / "devices"
    devices.mkdir(parents=True, exist_ok=True)
    for folder in devices.iterdir():
        if folder.name not in present:
            shutil.rmtree(folder)
    for address, (maker, device, pci_class, driver) in present.items():
        for name, text in (("vendor", maker), ("device", device), ("class", pci_class), ("numa_node", "0")):
            host.write(devices / address / name, text + "\n")
        if driver:
            bind(driver, [address])
    for driver in DRIVERS:
        if host.loaded(driver):
            bind(driver, _free_cards(driver))
    if host.loaded("amdgpu"):
        describe_memory()


def describe_memory() -> None:
    """What amdgpu says of each card's memory: bytes, and errors since it was loaded."""
    knobs = host.knobs()
    for index, card in enumerate(host.cards()):
        folder = host.PCI / "devices" / card["address"]
        host.write(folder / "mem_info_vram_total", f"{host.hardware()['memory_mib'] * 2**20}\n")
        host.write(folder / "product_name", f"{host.hardware()['name']} OAM\n")
        host.write(folder / "ras" / "umc_err_count", f"ue: {knobs.get('ecc', {}).get(str(index), 0)}\nce: 0\n")
        pages = "0x00001000 : 0x00001000 : P\n" if index in knobs.get("repair_pending", []) else ""
        host.write(folder / "ras" / "gpu_vram_bad_pages", pages)
