"""A vendor that does not exist, as one would be added: one value, and entries of the catalog."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from barewind import catalog
from barewind.catalog import Accelerator
from barewind.catalog.entries import Names, Part
from barewind.catalog.vendors import vendor_packages
from barewind.drivers.base import Reading, Vendor
from barewind.drivers.gpus import unknown, whole
from barewind.drivers.model import AcceleratorFacts, DriverPlan, Finding, Sections, System
from barewind.drivers.modules import Modinfo, Module
from barewind.drivers.vendors import VENDORS
from barewind.hosts.packages import Package
from barewind.plan.engine import EnginePlan
from barewind.spec.keys import EngineSpec

CATALOG_ENTRY = {
    "containers": {
        "devices": {
            "options": ["--device=/dev/toy"],
            "runtimes": {"toy": {"path": "toy-container-runtime", "args": []}},
        }
    },
    "packages": {"driver": ["toy-dkms"], "version": "4.2"},
    "source": "made up",
}
ACCELERATOR = {
    "vendor": "toy",
    "architecture": "toybox",
    "names": ["Toy X1"],
    "device_ids": ["0042"],
    "memory_mib": 200000,
    "fp8": True,
    "driver_floor": {},
    "source": "made up",
}


class _Packages(Part):
    driver: Names
    version: str


def _read_module(sections: Sections, modinfo: Modinfo) -> Module:
    loaded = sections.get("toy_loaded") or [""]
    return {"loaded": loaded[0] or None, "installed": modinfo["version"] or None, "flavour": None}


def _read_gpus(sections: Sections, loaded: str) -> Reading:
    """`Toy X1;200000;0000:17:00.0` a line; whatever else the tool says is a complaint."""
    gpus, error = [], ""
    for line in sections.get("toy_smi", []):
        fields = line.split(";")
        if len(fields) == 3:
            name, memory, bus = fields
            gpus.append(
                unknown("toy")
                | {"name": name, "memory_mib": whole(memory), "bus": bus, "driver": loaded, "ecc_errors": 0}
            )
        else:
            error = error or line
    return Reading("toy-smi" if gpus else "", gpus, error)


def _plan(_: EngineSpec, system: System) -> DriverPlan:
    packages = vendor_packages("toy", _Packages)
    exact = f"{packages.version}-*"
    return DriverPlan(
        vendor="toy",
        version=packages.version,
        module="toy",
        module_version=packages.version,
        sources=(),
        packages=tuple(Package(name, exact) for name in packages.driver),
        helpers=(Package(f"linux-headers-{system.kernel}"),),
        held=(exact,),
        files=(),
        kernel_parameters=("toy=on",),
    )


def _is_planned(_: EngineSpec, module: Module) -> bool:
    return module["loaded"] == vendor_packages("toy", _Packages).version


def _ready(_: EnginePlan, __: Accelerator, facts: AcceleratorFacts) -> Iterator[Finding]:
    if facts["modules"]["toy"]["loaded"] is None:
        yield "no toy driver is loaded", "modprobe toy"


def _conflicts(spec: EngineSpec) -> Iterator[tuple[str, str]]:
    if spec.accelerator_count > 8:
        yield "accelerator_count", "a toy box holds 8; lower it"


def _explain(line: str) -> str:
    return " (its spring is broken)" if "spring" in line else ""


TOY = Vendor(
    name="toy",
    title="Toy",
    pci_vendor="70f0",
    pci_classes=("1200",),
    module="toy",
    read_module=_read_module,
    kernel_errors=("toybox: .* broken",),
    explain_error=_explain,
    groups=("toys",),
    sections={"toy_smi": "toy-smi --list", "toy_loaded": "toy-smi --driver"},
    read_gpus=_read_gpus,
    packages=("toy-*",),
    memory_help="toy-smi --memory",
    repositories=lambda _: (),
    plan=_plan,
    conflicts=_conflicts,
    is_planned=_is_planned,
    ready=_ready,
)


def register(patch: pytest.MonkeyPatch) -> None:
    """Have Barewind know the vendor, and its accelerator "toy-x1", for one test."""
    patch.setitem(VENDORS, TOY.name, TOY)
    patch.setitem(catalog.vendors(), TOY.name, catalog.Vendor.model_validate(CATALOG_ENTRY))
    patch.setitem(catalog.accelerators(), "toy-x1", Accelerator.model_validate(ACCELERATOR))
