"""AMD's software as it is against what a host shall serve with: driver, kernel settings, access for containers. Pure.

Findings come with their remedy; where the deploy installs drivers itself (managed), running it again is one.
"""

from __future__ import annotations

from collections.abc import Iterator

from barewind.catalog import Accelerator
from barewind.drivers.amd import kernel
from barewind.drivers.kernel import absent_parameters
from barewind.drivers.model import AcceleratorFacts, Finding
from barewind.plan.engine import EnginePlan
from barewind.versions import older

_MANAGE = "set accelerator_drivers = 'managed'"


def ready(plan: EnginePlan, wanted: Accelerator, facts: AcceleratorFacts) -> Iterator[Finding]:
    """Everything that must be in place before an engine starts."""
    yield from _module(plan, wanted, facts)
    yield from _kernel(facts)
    if absent := [name for name in kernel.GROUPS if name not in facts["groups"]]:
        yield (
            f"the group{'s' if len(absent) > 1 else ''} {', '.join(absent)} that own the devices do not exist",
            "; ".join(f"groupadd --system {name}" for name in absent) + "; reboot",
        )
    toolkit = "amd-container-toolkit"
    if plan.spec.amd_container_access == "toolkit" and toolkit not in facts["packages"]:
        yield (
            "AMD's container toolkit is not installed: containers get no accelerators",
            f"apt install {toolkit} (AMD's repository), or set amd_container_access = 'devices'",
        )


def image(plan: EnginePlan, wanted: Accelerator) -> Iterator[Finding]:
    """The image's ROCm against the accelerator."""
    floor = wanted.driver_floor.get("rocm")
    if plan.rocm and floor and _below(plan.rocm, floor):
        yield (
            f"the image's ROCm {plan.rocm} is older than {floor}, the first for {plan.spec.accelerator}",
            "name a newer 'image', then: barewind lock INVENTORY",
        )


def _below(version: str, floor: str) -> bool:
    """Whether a version is below a floor; what is no version at all ("6.1.0-41-amd64", a kernel's) is not."""
    try:
        return older(version, floor)
    except ValueError:
        return False


def _module(plan: EnginePlan, wanted: Accelerator, facts: AcceleratorFacts) -> Iterator[Finding]:
    module, error = facts["modules"][kernel.MODULE], facts["tool_error"]
    loaded, installed = module["loaded"], module["installed"]
    managed = plan.spec.accelerator_drivers == "managed"
    message = f" ({error})" if error else ""
    if not facts["gpus"] and not loaded:
        build = "dkms status; journalctl -k -b | grep -i amdgpu"
        yield (
            f"no AMD driver is loaded{message}",
            ("" if facts["kernel"]["headers"] else f"apt install linux-headers-{facts['kernel']['running']}; ")
            + (
                f"look at: {build}; deploy again" if managed else f"install amdgpu-dkms, or {_MANAGE}; look at: {build}"
            ),
        )
    elif not facts["gpus"]:
        yield (
            f"driver amdgpu {loaded} is loaded, and shows no accelerator{message}",
            "look at: journalctl -k -b | grep -i amdgpu; reboot",
        )
    if loaded and installed and loaded != installed:
        yield f"driver amdgpu {loaded} is loaded, {installed} is installed", "reboot"
    elif loaded and module["flavour"] == kernel.DKMS and wanted.module_floor and _below(loaded, wanted.module_floor):
        yield (
            f"driver amdgpu {loaded} is older than {wanted.module_floor}, which today's ROCm needs",
            "set amdgpu_release to a newer one" if managed else f"install a newer amdgpu-dkms, or {_MANAGE}",
        )


def _kernel(facts: AcceleratorFacts) -> Iterator[Finding]:
    state = facts["kernel"]
    if state["numa_balancing"] == 1:
        yield (
            "NUMA balancing is on: it moves memory away under the accelerators",
            "echo kernel.numa_balancing=0 > /etc/sysctl.d/90-amd.conf; sysctl --system",
        )
    if absent := absent_parameters(kernel.kernel_parameters(state["cpu_vendor"]), state["command_line"]):
        yield (
            f"the kernel runs without {' '.join(absent)}: AMD's guide wants it for several accelerators",
            "add to GRUB_CMDLINE_LINUX in /etc/default/grub; update-grub; reboot",
        )
