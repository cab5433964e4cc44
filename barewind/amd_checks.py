"""AMD's software as it is against what a host shall serve with: driver, kernel settings, access for containers. Pure.

Findings come with their remedy; where the deploy installs drivers itself (managed), running it again is one.
"""

from __future__ import annotations

from collections.abc import Iterator

from barewind.catalog import Accelerator
from barewind.facts.accelerators import AcceleratorFacts
from barewind.plan import EnginePlan
from barewind.readiness import absent_parameters, kernel_parameters
from barewind.sizing import numbers

_MANAGE = "set accelerator_drivers = 'managed'"
_GROUPS = ("render", "video")  # they own the device files

Finding = tuple[str, str]


def ready(plan: EnginePlan, wanted: Accelerator, facts: AcceleratorFacts) -> Iterator[Finding]:
    """Everything that must be in place before an engine starts."""
    yield from _module(plan, wanted, facts)
    yield from _kernel(facts)
    if absent := [name for name in _GROUPS if name not in facts["groups"]]:
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


def _module(plan: EnginePlan, wanted: Accelerator, facts: AcceleratorFacts) -> Iterator[Finding]:
    module, error = facts["modules"]["amdgpu"], facts["tool_error"]
    loaded, installed = module["loaded"], module["installed"]
    managed = plan.spec.accelerator_drivers == "managed"
    said = f" ({error})" if error else ""
    if not facts["gpus"] and not loaded:
        build = "dkms status; journalctl -k -b | grep -i amdgpu"
        yield (
            f"no AMD driver is loaded{said}",
            ("" if facts["kernel"]["headers"] else f"apt install linux-headers-{facts['kernel']['running']}; ")
            + (
                f"look at: {build}; deploy again" if managed else f"install amdgpu-dkms, or {_MANAGE}; look at: {build}"
            ),
        )
    elif not facts["gpus"]:
        yield (
            f"driver amdgpu {loaded} is loaded, and shows no accelerator{said}",
            "look at: journalctl -k -b | grep -i amdgpu; reboot",
        )
    if loaded and installed and loaded != installed:
        yield f"driver amdgpu {loaded} is loaded, {installed} is installed", "reboot"
    elif loaded and module["flavour"] == "dkms" and wanted.module_floor and older(loaded, wanted.module_floor):
        yield (
            f"driver amdgpu {loaded} is older than {wanted.module_floor}, which today's ROCm needs",
            "set amdgpu_release to a newer one" if managed else f"install a newer amdgpu-dkms, or {_MANAGE}",
        )


def older(found: str, floor: str) -> bool:
    """Whether a version is below a floor; one that is no plain version ("7.0rc1") is not."""
    try:
        return numbers(found) < numbers(floor)
    except ValueError:
        return False


def _kernel(facts: AcceleratorFacts) -> Iterator[Finding]:
    kernel = facts["kernel"]
    if kernel["numa_balancing"] == 1:
        yield (
            "NUMA balancing is on: it moves memory away under the accelerators",
            "echo kernel.numa_balancing=0 > /etc/sysctl.d/90-amd.conf; sysctl --system",
        )
    if absent := absent_parameters(kernel_parameters(kernel["cpu_vendor"]), kernel["command_line"]):
        yield (
            f"the kernel runs without {' '.join(absent)}: AMD's guide wants it for several accelerators",
            "add to GRUB_CMDLINE_LINUX in /etc/default/grub; update-grub; reboot",
        )
