"""Facts of accelerator hosts with everything in order, so that a test names only what it is about.

`**changes` replace facts; where a fact is a record (kernel, fabric, toolkit, ...) only the keys that are named change.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any, cast

from barewind.drivers.model import AcceleratorFacts

NVIDIA_DRIVER = "580.126.09"
AMDGPU_DRIVER = "6.16.6"
NVLSM = "2025.06.11-1"
TOOLKIT = "1.18.1"
_OPEN_MAPPINGS = ("groups", "packages")  # replaced as a whole: their keys are data
_BUSES = ("17", "3d", "60", "70", "98", "bb", "dd", "ed")


def h200_hgx(**changes: Any) -> AcceleratorFacts:
    """Eight H200 on an HGX board: four NVSwitches on the PCI bus, driver and fabric manager of one version."""
    return changed(_nvidia("2335", "NVIDIA H200", 143771, nvswitches=4), **changes)


def h100_hgx(**changes: Any) -> AcceleratorFacts:
    """Eight H100 on an HGX board."""
    return changed(_nvidia("2330", "NVIDIA H100 80GB HBM3", 81559, nvswitches=4), **changes)


def b200(**changes: Any) -> AcceleratorFacts:
    """Eight B200: the switches are no PCI devices, nvlsm and ib_umad beside the fabric manager."""
    facts = _nvidia("2901", "NVIDIA B200", 183359, nvswitches=0)
    facts["fabric"] |= {"nvlsm": NVLSM, "ib_umad": True}
    facts["packages"]["nvlsm"] = {"version": NVLSM, "held": True}
    return changed(facts, **changes)


def mi300x(**changes: Any) -> AcceleratorFacts:
    """Eight MI300X with the vendor's DKMS module, devices passed to containers one by one."""
    gpus = [
        {
            "vendor": "amd",
            "name": "AMD Instinct MI300X",
            "memory_mib": 196592,
            "driver": AMDGPU_DRIVER,
            "uuid": "",
            "bus": f"0000:{bus}:00.0",
            "mig": None,
            "persistence": None,
            "ecc_errors": 0,
            "repair_pending": None,
            "fabric": "",
        }
        for bus in _BUSES
    ]
    facts = _host(
        pci=[_card(bus, "1002", "74a1", "amdgpu") for bus in _BUSES],
        gpus=gpus,
        tool="amd-smi",
        packages={"amdgpu-dkms": {"version": "1:6.16.6.30200100-2255209.22.04", "held": True}},
    )
    facts["modules"]["amdgpu"] = {"loaded": AMDGPU_DRIVER, "installed": AMDGPU_DRIVER, "flavour": "dkms"}
    facts["kernel"] |= {"command_line": ["ro", "quiet", "pci=realloc=off", "iommu=pt"], "numa_balancing": 0}
    return changed(facts, **changes)


def bare(facts: AcceleratorFacts) -> AcceleratorFacts:
    """The same machine as its operating system was just installed: nothing of the vendor's is there."""
    fresh = _host(
        pci=[card | {"driver": ""} for card in facts["pci"]],
        gpus=[],
        tool="",
        packages={},
    )
    fresh["nvswitches"] = facts["nvswitches"]
    fresh["kernel"]["headers"] = False
    fresh["runtimes"] = []
    return cast("AcceleratorFacts", fresh)


def changed(facts: Any, **changes: Any) -> AcceleratorFacts:
    """Facts with some of them changed; records are merged, everything else is replaced."""
    made = deepcopy(dict(facts))
    for key, value in changes.items():
        if key not in made:
            raise KeyError(f"'{key}' is no fact")
        made[key] = _merged(made[key], value) if isinstance(value, dict) and key not in _OPEN_MAPPINGS else value
    return cast("AcceleratorFacts", made)


def _merged(record: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    made = dict(record)
    for key, value in changes.items():
        if key not in made:
            raise KeyError(f"'{key}' is no key of that fact")
        made[key] = _merged(made[key], value) if isinstance(value, dict) else value
    return made


def _nvidia(device: str, name: str, memory_mib: int, *, nvswitches: int) -> dict[str, Any]:
    gpus = [
        {
            "vendor": "nvidia",
            "name": name,
            "memory_mib": memory_mib,
            "driver": NVIDIA_DRIVER,
            "uuid": f"GPU-00000000-0000-0000-0000-0000000000{bus}",
            "bus": f"00000000:{bus.upper()}:00.0",
            "mig": False,
            "persistence": True,
            "ecc_errors": 0,
            "repair_pending": False,
            "fabric": "Completed",
        }
        for bus in _BUSES
    ]
    versions = {
        "nvidia-driver-cuda": NVIDIA_DRIVER,
        "nvidia-kernel-open-dkms": NVIDIA_DRIVER,
        "nvidia-persistenced": NVIDIA_DRIVER,
        "nvidia-fabricmanager": NVIDIA_DRIVER,
        "nvidia-container-toolkit": TOOLKIT,
    }
    facts = _host(
        pci=[_card(bus, "10de", device, "nvidia") for bus in _BUSES],
        gpus=gpus,
        tool="nvidia-smi",
        packages={package: {"version": f"{version}-1", "held": True} for package, version in versions.items()},
    )
    facts["nvswitches"] = nvswitches
    facts["modules"]["nvidia"] = {"loaded": NVIDIA_DRIVER, "installed": NVIDIA_DRIVER, "flavour": "open"}
    facts["fabric"] |= {"version": NVIDIA_DRIVER, "active": True, "enabled": True}
    facts["persistenced"] = {"active": True, "enabled": True}
    facts["toolkit"] = {
        "version": TOOLKIT,
        "cdi_devices": [*(str(number) for number in range(8)), *(gpu["uuid"] for gpu in gpus), "all"],
    }
    facts["runtimes"] = ["io.containerd.runc.v2", "nvidia", "runc"]
    return facts


def _card(bus: str, vendor: str, device: str, driver: str) -> dict[str, Any]:
    return {"address": f"0000:{bus}:00.0", "vendor": vendor, "device": device, "driver": driver}


def _host(
    *, pci: list[dict[str, Any]], gpus: list[dict[str, Any]], tool: str, packages: dict[str, Any]
) -> dict[str, Any]:
    """A host of two AMD processors without any vendor's software but for what is given."""
    return {
        "pci": pci,
        "nvswitches": 0,
        "gpus": gpus,
        "tool": tool,
        "tool_error": "",
        "modules": {name: {"loaded": None, "installed": None, "flavour": None} for name in ("nvidia", "amdgpu")},
        "fabric": {"version": None, "active": False, "enabled": False, "nvlsm": None, "ib_umad": False},
        "persistenced": {"active": False, "enabled": False},
        "toolkit": {"version": None, "cdi_devices": []},
        "runtimes": ["io.containerd.runc.v2", "runc"],
        "kernel": {
            "running": "6.1.0-41-amd64",
            "headers": True,
            "command_line": ["ro", "quiet"],
            "secure_boot": False,
            "key_enrolled": None,
            "iommu": True,
            "numa_balancing": 1,
            "cpu_vendor": "AuthenticAMD",
            "boot_id": "0b16c9c3-6c0b-4ad7-8a0c-000000000001",
            "reboot_required": False,
        },
        "kernel_errors": [],
        "shm_bytes": 1000 * 2**30,
        "groups": {"render": 105, "video": 44},
        "packages": packages,
    }
