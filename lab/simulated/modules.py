"""Simulated kernel modules: their files, and what loading and unloading does to the kernel's interfaces.

A module's file is a text file at the real path (/lib/modules/RELEASE/...) with the fields that modinfo prints.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from lab.simulated import host
from lab.simulated.host import Json

# Modules that are loaded and unloaded together, all of the first module's version.
NVIDIA = ("nvidia", "nvidia_uvm", "nvidia_modeset", "nvidia_drm")
DRIVERS = {"nvidia": "0x10de", "nouveau": "0x10de", "amdgpu": "0x1002"}  # driver -> vendor of the cards it binds
COMPANIONS = {"amdgpu": ("amdttm", "amdkcl", "amd_sched"), "ib_umad": ("ib_core",)}
DRI = Path("/dev/dri")
BLACKLISTS = ("/etc/modprobe.d", "/run/modprobe.d", "/lib/modprobe.d")
_FIRMWARE_MIB = 283  # of an idle card's memory
NULL = os.makedev(1, 3)  # every simulated device node is a null device


class Refused(Exception):
    """The kernel refuses the module; the message is the system call's error."""


def on_disk(name: str, release: str | None = None) -> Path | None:
    """File of a module, or None; DKMS' modules come before the kernel's."""
    folder = Path("/lib/modules") / (release or host.release())
    for root in (folder / "updates" / "dkms", folder / "kernel"):
        for path in sorted(root.glob(f"**/{name.replace('_', '-')}.ko")) + sorted(root.glob(f"**/{name}.ko")):
            return path
    return None


def fields(path: Path) -> dict[str, str]:
    """Fields of a module's file: version, license, description, ..."""
    return dict(line.split("=", 1) for line in path.read_text().splitlines() if "=" in line)


def blacklisted(name: str) -> bool:
    """Whether a module is kept from loading by itself."""
    for folder in BLACKLISTS:
        for path in Path(folder).glob("*.conf"):
            if any(line.split() == ["blacklist", name] for line in path.read_text().splitlines()):
                return True
    return False


def autoload() -> None:
    """Load a module for the cards, as udev does at boot."""
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
    """Load a module; nothing happens if it is loaded. FileNotFoundError or Refused, when it cannot be."""
    name = name.replace("-", "_")
    if host.loaded(name):
        return
    path = on_disk(name)
    if path is None:
        raise FileNotFoundError(name)
    properties = fields(path)
    knobs = host.knobs()
    if "updates" in path.parts and knobs.get("secure_boot") and not knobs.get("key_enrolled"):
        host.kernel_log(f"Loading of unsigned module is rejected: {name}", 5)
        raise Refused("Key was rejected by service")
    if name in NVIDIA:
        load_nvidia(properties)
    else:
        load_other(name, properties)


def load_nvidia(properties: dict[str, str]) -> None:
    """Load the NVIDIA modules: bind the cards, make /proc/driver/nvidia and the device nodes."""
    hardware, version = host.hardware(), properties["version"]
    flavour = "proprietary" if properties["license"] == "NVIDIA" else "open"
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


def load_other(name: str, properties: dict[str, str]) -> None:
    """Load amdgpu, nouveau or ib_umad; the kernel's own modules have no version."""
    if name in DRIVERS:
        cards = _free_cards(name)
        if cards:
            bind(name, cards)
    for module in (name, *(other for other in COMPANIONS.get(name, ()) if on_disk(other))):
        _appear(module, properties.get("version"))
    if name == "amdgpu":
        _nodes(amd_nodes(bound("amdgpu")))
        _by_path(bound("amdgpu"))
        describe_memory()
        host.kernel_log(
            f"[drm] amdgpu version: {properties['version']}"
            if "version" in properties
            else "[drm] amdgpu kernel modesetting enabled."
        )
    if name == "ib_umad":
        _nodes([(f"/dev/infiniband/umad{n}", 0o660, "root") for n in range(2)])


def unload(name: str) -> None:
    """Unload a module and those that came with it. FileNotFoundError when it is not loaded, Refused when it is in use."""
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
    """Whether daemons use the NVIDIA driver; they write their process ids into its state."""
    return any(Path(f"/proc/{path.read_text().strip()}").exists() for path in host.NVIDIA.glob("*.pid"))


def bind(driver: str, addresses: list[str]) -> None:
    """Bind devices of the PCI bus to a driver."""
    (host.PCI / "drivers" / driver).mkdir(parents=True, exist_ok=True)
    for address in addresses:
        link = host.PCI / "devices" / address / "driver"
        link.unlink(missing_ok=True)
        link.symlink_to(f"../../../bus/pci/drivers/{driver}")


def _free_cards(driver: str) -> list[str]:
    """Addresses of cards of the driver's vendor that are bound to no driver."""
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
    """Write /proc/modules in place, as it is a bind mount."""
    path = host.FILES / "modules"
    if path.exists():
        path.write_text("".join(f"{name} 16384 0 - Live 0x0000000000000000\n" for name in loaded_modules()))


Node = tuple[str, int, str]  # path, mode, group


def bound(driver: str) -> list[int]:
    """Indices of the cards that are bound to a driver."""
    links = [host.PCI / "devices" / card["address"] / "driver" for card in host.cards()]
    return [number for number, link in enumerate(links) if link.is_symlink() and link.readlink().name == driver]


def nvidia_nodes(cards: Iterable[int]) -> list[Node]:
    """Device nodes of the NVIDIA driver. It differs from the real driver: a card keeps its number when others are gone."""
    names = [f"nvidia{number}" for number in cards]
    names += ["nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset"]
    if host.hardware()["kind"] == "hopper":
        names += ["nvidia-nvswitchctl", *(f"nvidia-nvswitch{number}" for number in range(4))]
    return [(f"/dev/{name}", 0o666, "root") for name in names]


def amd_nodes(cards: Iterable[int]) -> list[Node]:
    """Device nodes of amdgpu and of its compute driver."""
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


def _by_path(cards: Iterable[int]) -> None:
    """Name the render nodes by their cards' PCI addresses, as udev does."""
    folder = DRI / "by-path"
    folder.mkdir(parents=True, exist_ok=True)
    for number in cards:
        link = folder / f"pci-{host.cards()[number]['address']}-render"
        link.unlink(missing_ok=True)
        link.symlink_to(f"../renderD{128 + number}")


def _remove_nodes(nodes: list[Node]) -> None:
    for name, _, _ in nodes:
        Path(name).unlink(missing_ok=True)


def describe_pci() -> None:
    """Write the PCI bus: cards and other devices with their ids. Drivers stay bound."""
    hardware: Json = host.hardware()
    vendor = "0x10de" if hardware["vendor"] == "nvidia" else "0x1002"
    present = {card["address"]: (vendor, hardware["device"], hardware["pci_class"], "") for card in host.cards()} | {
        other["address"]: (other["vendor"], other["device"], other["pci_class"], other["driver"])
        for other in hardware["others"]
    }
    nodes = {card["address"]: card["node"] for card in host.cards()}
    devices = host.PCI / "devices"
    devices.mkdir(parents=True, exist_ok=True)
    for folder in devices.iterdir():
        if folder.name not in present:
            shutil.rmtree(folder)
    for address, (maker, device, pci_class, driver) in present.items():
        for name, text in (
            ("vendor", maker),
            ("device", device),
            ("class", pci_class),
            ("numa_node", nodes.get(address, 0)),
        ):
            host.write(devices / address / name, f"{text}\n")
        if driver:
            bind(driver, [address])
    for driver in DRIVERS:
        if host.loaded(driver):
            bind(driver, _free_cards(driver))
    if host.loaded("amdgpu"):
        describe_memory()


def describe_memory() -> None:
    """Write each card's files of amdgpu about memory: size and use in bytes, and errors since the module was loaded."""
    knobs = host.knobs()
    for index, card in enumerate(host.cards()):
        folder = host.PCI / "devices" / card["address"]
        held = knobs.get("held", {}).get(str(index), _FIRMWARE_MIB)
        host.write(folder / "mem_info_vram_total", f"{host.hardware()['memory_mib'] * 2**20}\n")
        host.write(folder / "mem_info_vram_used", f"{held * 2**20}\n")
        host.write(folder / "product_name", f"{host.hardware()['name']} OAM\n")
        host.write(folder / "ras" / "umc_err_count", f"ue: {knobs.get('ecc', {}).get(str(index), 0)}\nce: 0\n")
        pages = "0x00001000 : 0x00001000 : P\n" if index in knobs.get("repair_pending", []) else ""
        host.write(folder / "ras" / "gpu_vram_bad_pages", pages)
