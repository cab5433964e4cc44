"""amd-smi and rocm-smi, which stand for the real tools: they know the questions of a deploy and its checks.

amd-smi prints the newer JSON ({"gpu_data": [...]}) unless the knob `amd_smi` is "older" (a bare list) or its release is
older than ROCm 6.4; with "silent" it fails, so that rocm-smi is asked. MB means MiB in both.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from lab.simulated import host
from lab.simulated.host import Json

VERSION = Path("/opt/rocm/.info/version")
NOT_LOADED = "ERROR:root:Driver not initialized (amdgpu not found in modules)"


def main(argv: list[str]) -> int:
    """Run the program that this was called as; returns the exit status."""
    return rocm_smi(argv[1:]) if Path(argv[0]).name == "rocm-smi" else amd_smi(argv[1:])


def present() -> list[Json]:
    """Cards that have a device node; in a container, those that it was given."""
    if not host.loaded("amdgpu") or not Path("/dev/kfd").exists():
        return []
    return [card for number, card in enumerate(host.cards()) if Path(f"/dev/dri/renderD{128 + number}").exists()]


def driver_version() -> str:
    """Version of the module; the kernel's banner without blanks for the kernel's own module, which has none."""
    return host.loaded_version("amdgpu") or f"Linuxversion{host.release()}(lab@lab)(gcc12.2.0)#1SMPPREEMPT_DYNAMIC"


def amd_smi(words: list[str]) -> int:
    """Run amd-smi: static, list or version, as JSON or lines of text."""
    if host.knobs().get("amd_smi") == "silent":
        print("AMDSMI_STATUS_INIT_ERROR - An error occurred when initializing the library", file=sys.stderr)
        return 1
    release = VERSION.read_text().strip() if VERSION.exists() else "7.0.0"
    if "version" in words:
        print(f"AMDSMI Tool: 26.0.0+lab | AMDSMI Library version: 26.0.0 | ROCm version: {release}")
        return 0
    cards = present()
    if not cards:
        print(NOT_LOADED, file=sys.stderr)
        return 255
    gpus = [{"gpu": number, **_described(card)} for number, card in enumerate(cards)]
    if "list" in words:
        gpus = [
            {"gpu": number, "bdf": card["address"], "uuid": card["uuid"], "kfd_id": 1000 + number}
            for number, card in enumerate(cards)
        ]
    older = host.knobs().get("amd_smi") == "older" or tuple(int(part) for part in release.split(".")[:2]) < (6, 4)
    if "--json" in words:
        print(json.dumps(gpus if older or "list" in words else {"gpu_data": gpus}, indent=4))
    else:
        for gpu in gpus:
            print("\n".join(f"{key.upper()}: {value}" for key, value in gpu.items()) + "\n")
    return 0


def _described(card: Json) -> Json:
    hardware = host.hardware()
    return {
        "asic": {
            "market_name": hardware["name"],
            "vendor_id": "0x1002",
            "vendor_name": "Advanced Micro Devices Inc. [AMD/ATI]",
            "device_id": hardware["device"],
            "rev_id": "0x00",
            "asic_serial": f"0x{int(card['serial']):X}",
            "oam_id": host.cards().index(card),
            "num_compute_units": 304,
            "target_graphics_version": hardware["compute_capability"],
        },
        "bus": {
            "bdf": card["address"],
            "max_pcie_width": 16,
            "max_pcie_speed": {"value": 32, "unit": "GT/s"},
            "pcie_interface_version": "Gen 5",
            "slot_type": "OAM",
        },
        "driver": {"name": "amdgpu", "version": driver_version()},
        "vram": {
            "type": "HBM3",
            "vendor": "HYNIX",
            "size": {"value": hardware["memory_mib"], "unit": "MB"},
            "bit_width": 8192,
        },
    }


def rocm_smi(words: list[str]) -> int:
    """Run rocm-smi: all values are text, "system" stands beside the cards, and its exit status is 0 even when it fails."""
    cards, hardware = present(), host.hardware()
    if not cards:
        print(f"\n{NOT_LOADED}")
        return 0
    values: Json = {
        f"card{number}": {
            "Device Name": hardware["name"],
            "Device ID": hardware["device"],
            "Device Rev": "0x00",
            "Subsystem ID": hardware["device"],
            "GUID": str(40000 + number),
            "PCI Bus": card["address"].upper(),
            "Unique ID": f"0x{int(card['serial']):x}",
            "Card Series": hardware["name"],
            "Card Model": hardware["device"],
            "Card Vendor": "Advanced Micro Devices, Inc. [AMD/ATI]",
            "Card SKU": "M3000100",
            "Node ID": str(2 + number),
            "GFX Version": hardware["compute_capability"],
            "VRAM Total Memory (B)": str(hardware["memory_mib"] * 2**20),
            "VRAM Total Used Memory (B)": "297652224",
        }
        for number, card in enumerate(cards)
    }
    values["system"] = {"Driver version": driver_version()}
    if "--json" in words:
        print(json.dumps(values))
    else:
        for name, fields in values.items():
            print("\n".join(f"{name}\t: {key}: {value}" for key, value in fields.items()))
    return 0
