"""AMD, as one value."""

from __future__ import annotations

from barewind.drivers.amd import amd_smi, checks, kernel, plan, systems
from barewind.drivers.base import Reading, Vendor
from barewind.drivers.model import Sections
from barewind.drivers.modules import Module
from barewind.spec.keys import EngineSpec


def _read_gpus(sections: Sections, loaded: str) -> Reading:
    """The first tool that answers; the driver's own files at last, beside which the tools' complaint is worth reading."""
    by_amd_smi, amd_error = amd_smi.read_amd_smi(sections.get("amd_smi", []))
    by_rocm_smi, rocm_error = amd_smi.read_rocm_smi(sections.get("rocm_smi", []))
    by_files = amd_smi.read_sysfs(sections.get("amd_sysfs", []))
    error = amd_error or rocm_error
    for tool, gpus in (("amd-smi", by_amd_smi), ("rocm-smi", by_rocm_smi), ("sysfs", by_files)):
        if gpus:
            for gpu in gpus:
                gpu["driver"] = gpu["driver"] or loaded
            amd_smi.add_errors(gpus, sections.get("amd_ras", []))
            return Reading(tool, gpus, error if tool == "sysfs" else "")
    return Reading("", [], error)


def _is_planned(_: EngineSpec, module: Module) -> bool:
    return module["flavour"] == kernel.DKMS and module["loaded"] is not None


AMD = Vendor(
    name="amd",
    title="ROCm",
    pci_vendor="1002",
    pci_classes=("0380", "1200"),  # display controllers, processing accelerators
    module=kernel.MODULE,
    read_module=kernel.read_module,
    kernel_errors=kernel.ERRORS,
    harmless_errors=kernel.HARMLESS,
    groups=kernel.GROUPS,
    sections={**amd_smi.SECTIONS, **kernel.SECTIONS},
    read_gpus=_read_gpus,
    packages=("amdgpu*", "amd-smi*", "rocm*", "amd-container-toolkit"),
    memory_help="amd-smi metric --ecc; amd-smi bad-pages",
    product_name=r"AMD Instinct MI\d+",
    partition_help="amd-smi set --memory-partition NPS1; amd-smi set --compute-partition SPX",
    repositories=plan.repositories,
    plan=plan.plan,
    unpublished=systems.unpublished,
    is_planned=_is_planned,
    ready=checks.ready,
    image=checks.image,
    cards="drivers/amd-cards.sh",
    figures="drivers/amd-figures.sh",
    # ROCm reads NVIDIA's variable too, as it reads its own (ROCm documentation, "GPU isolation techniques").
    visibility=(
        *("AMD_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL"),
        *("HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"),
    ),
)
