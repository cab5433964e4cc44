"""NVIDIA, as one value."""

from __future__ import annotations

from barewind.drivers.base import Reading, Uninstaller, Vendor
from barewind.drivers.model import Sections
from barewind.drivers.modules import Module
from barewind.drivers.nvidia import checks, conflicts, kernel_log, nvidia_smi, plan, software, steps, systems
from barewind.spec.keys import EngineSpec


def _read_gpus(sections: Sections, _: str) -> Reading:
    gpus, error = nvidia_smi.read(sections.get("nvidia_smi", []), sections.get("nvidia_rows", []))
    return Reading("nvidia-smi" if gpus else "", gpus, error)


def _is_planned(spec: EngineSpec, module: Module) -> bool:
    return module["loaded"] == spec.nvidia_driver


NVIDIA = Vendor(
    name="nvidia",
    title="NVIDIA",
    pci_vendor=software.PCI_VENDOR,
    pci_classes=("0300", "0302", "0680"),  # VGA and 3D controllers, NVSwitches
    module="nvidia",
    replaced_driver="nouveau",
    read_module=software.read_module,
    kernel_errors=kernel_log.ERRORS,
    harmless_errors=kernel_log.HARMLESS,
    explain_error=kernel_log.explain,
    error_help=kernel_log.HELP,
    sections={**nvidia_smi.SECTIONS, **software.SECTIONS},
    read_gpus=_read_gpus,
    read_own=software.read_own,
    packages=software.PACKAGES,
    memory_help="nvidia-smi -q -d ECC,ROW_REMAPPER",
    strict_tool="nvidia-smi",
    repositories=plan.repositories,
    plan=plan.plan,
    unpublished=systems.unpublished,
    conflicts=conflicts.conflicts,
    services=steps.services,
    service_drain_reasons=steps.service_drain_reasons,
    is_planned=_is_planned,
    ready=checks.ready,
    health=checks.health,
    cards="drivers/nvidia-cards.sh",
    figures="drivers/nvidia-figures.sh",
    visibility=("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"),
    uninstallers=(
        Uninstaller(
            "/usr/bin/nvidia-uninstall",
            "has a driver of NVIDIA's .run installer, which packages cannot replace",
            "nvidia-uninstall; reboot; or accelerator_drivers = 'external'",
        ),
    ),
)
