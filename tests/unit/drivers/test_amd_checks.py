"""AMD's software as facts tell of it, and the problems that are made of it."""

from __future__ import annotations

import pytest

from barewind.drivers.amd.kernel import kernel_parameters
from barewind.drivers.kernel import absent_parameters
from tests.support.accelerator_hosts import mi300x
from tests.support.checking import DEAD, MANAGE, MODES, Facts, found, spec_of

AMD_LOG = "look at: dkms status; journalctl -k -b | grep -i amdgpu"
NO_AMDGPU = {"amdgpu": {"loaded": None, "installed": None, "flavour": None}}
NUMA = "echo kernel.numa_balancing=0 > /etc/sysctl.d/90-amd.conf; sysctl --system"
GRUB = "add to GRUB_CMDLINE_LINUX in /etc/default/grub; update-grub; reboot"
WANTS = "AMD's guide wants it for several accelerators"

AMD: list[tuple[Facts, str, str, str]] = [
    (
        mi300x(modules=NO_AMDGPU, tool_error="amdsmi: driver not loaded", **DEAD),
        "no AMD driver is loaded (amdsmi: driver not loaded)",
        f"{AMD_LOG}; deploy again",
        f"install amdgpu-dkms, or {MANAGE}; {AMD_LOG}",
    ),
    (
        mi300x(**DEAD),
        "driver amdgpu 6.16.6 is loaded, and shows no accelerator",
        *["look at: journalctl -k -b | grep -i amdgpu; reboot"] * 2,
    ),
    (
        mi300x(modules={"amdgpu": {"loaded": "6.1.0-41-amd64"}}),
        "driver amdgpu 6.1.0-41-amd64 is loaded, 6.16.6 is installed",
        *["reboot"] * 2,
    ),
    (
        mi300x(modules={"amdgpu": {"loaded": "6.8.5", "installed": "6.8.5"}}),
        "driver amdgpu 6.8.5 is older than 6.10.5, which today's ROCm needs",
        "set amdgpu_release to a newer one",
        f"install a newer amdgpu-dkms, or {MANAGE}",
    ),
    (
        mi300x(kernel={"numa_balancing": 1}),
        "NUMA balancing is on: it moves memory away under the accelerators",
        *[NUMA] * 2,
    ),
    (
        mi300x(kernel={"command_line": ["ro", "iommu=pt"]}),
        f"the kernel runs without pci=realloc=off: {WANTS}",
        *[GRUB] * 2,
    ),
    (
        mi300x(kernel={"cpu_vendor": "GenuineIntel"}),
        f"the kernel runs without intel_iommu=on: {WANTS}",
        *[GRUB] * 2,
    ),
    (
        mi300x(groups={"video": 44}),
        "the group render that own the devices do not exist",
        *["groupadd --system render; reboot"] * 2,
    ),
]


@pytest.mark.parametrize(("facts", "finding", "managed", "external"), AMD)
def test_amds_software(facts: Facts, finding: str, managed: str, external: str) -> None:
    spec = spec_of("mi300x")
    assert found(facts, "before", spec) == []
    assert found(facts, "after", spec) == [(finding, managed)]
    assert found(facts, "external", spec) == [(finding, external)]


@pytest.mark.parametrize(
    "facts",
    [
        mi300x(kernel={"command_line": ["pci=noaer,realloc=off", "iommu=pt"]}),
        mi300x(
            kernel={"cpu_vendor": "GenuineIntel", "command_line": ["pci=realloc=off", "iommu=pt", "intel_iommu=on"]}
        ),
        mi300x(
            modules={"amdgpu": {"loaded": "6.8.0-60-generic", "installed": "6.8.0-60-generic", "flavour": "kernel"}}
        ),
        mi300x(modules={"amdgpu": {"loaded": "odd", "installed": "odd"}}),
        mi300x(kernel={"numa_balancing": None}),
    ],
)
def test_amd_hosts_that_are_right_too(facts: Facts) -> None:
    assert found(facts, "external", spec_of("mi300x")) == []


def test_amds_container_toolkit() -> None:
    spec = spec_of("mi300x", amd_container_access="toolkit")
    with_it = mi300x(packages={"amd-container-toolkit": {"version": "1.2.0", "held": True}})
    assert found(with_it, "after", spec) == []
    assert found(mi300x(), "before", spec) == []
    ((finding, remedy),) = found(mi300x(), "external", spec)
    assert finding == "AMD's container toolkit is not installed: containers get no accelerators"
    assert "amd_container_access = 'devices'" in remedy


@pytest.mark.parametrize(
    ("cpu", "given", "absent"),
    [
        ("AuthenticAMD", [], ["iommu=pt", "pci=realloc=off"]),
        ("GenuineIntel", ["iommu=pt"], ["intel_iommu=on", "pci=realloc=off"]),
        ("AuthenticAMD", ["iommu=pt", "pci=realloc=off"], []),
        ("AuthenticAMD", ["iommu=pt", "pci=realloc"], ["pci=realloc=off"]),
        ("AuthenticAMD", ["iommu=pt,x", "xpci=realloc=off", "pci=a,realloc=off,b"], []),
    ],
)
def test_kernel_parameters(cpu: str, given: list[str], absent: list[str]) -> None:
    assert absent_parameters(kernel_parameters(cpu), given) == absent


@pytest.mark.parametrize(
    ("accelerator", "rocm", "problem"),
    [
        ("mi300x", "6.2.4", True),
        ("mi300x", "6.3.0", False),
        ("mi300x", "7.1", False),
        ("mi300x", None, False),
        ("mi300x", "6rc1", False),
    ],
)
@pytest.mark.parametrize("mode", MODES)
def test_rocm_of_the_image(accelerator: str, rocm: str | None, problem: bool, mode: str) -> None:
    told = found(mi300x(), mode, spec_of(accelerator), rocm=rocm)
    line = (
        f"the image's ROCm {rocm} is older than 6.3, the first for mi300x",
        "name a newer 'image', then: barewind lock INVENTORY",
    )
    assert told == ([line] if problem else [])
