"""Driver plans, and the steps from what a host is to what it shall be."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path
from typing import Any

import pytest

from barewind.drivers import foreign, steps
from barewind.drivers.amd.plan import package_code
from barewind.drivers.model import DriverPlan, System
from barewind.drivers.plan import driver_plan
from barewind.drivers.repositories import check_keys, needed
from barewind.errors import BarewindError
from barewind.spec.keys import EngineSpec
from tests.support import accelerator_hosts as hosts
from tests.support.factories import engine_spec, lab_spec

DEBIAN = System("debian 12", "GenuineIntel", "6.1.0-41-amd64")
JAMMY = System("ubuntu 22.04", "AuthenticAMD", "5.15.0-161-generic")
NOBLE = System("ubuntu 24.04", "GenuineIntel", "6.8.0-88-generic")
DRIVER = "580.126.09"
CUDA = "https://developer.download.nvidia.com/compute/cuda/repos"


def plan(system: System = DEBIAN, **changes: Any) -> DriverPlan:
    made = driver_plan(engine_spec(**changes), system)
    assert made is not None
    return made


def names(made: DriverPlan) -> list[str]:
    return [str(package) for package in made.packages]


def in_order(made: DriverPlan, accelerators: Any) -> dict[str, Any]:
    """Facts of a host that has everything the plan asks for."""
    every = [file for source in made.sources for file in source.files] + list(made.files)
    files = {
        file.path: {
            "mode": "644",
            "owner": "root",
            "group": "root",
            "sha256": hashlib.sha256(file.content.encode()).hexdigest(),
        }
        for file in every
    }
    installed = {
        package.name: {"version": package.version.replace("*", "1"), "held": True}
        for package in (*made.packages, *made.helpers)
    }
    return {"accelerators": accelerators | {"packages": installed}, "files": files, "components": ["main", "contrib"]}


HEALTHY = [
    pytest.param(plan(), hosts.h200_hgx(), id="8x H200"),
    pytest.param(plan(NOBLE, accelerator="b200"), hosts.b200(), id="8x B200"),
    pytest.param(plan(JAMMY, accelerator="mi300x"), hosts.mi300x(), id="8x MI300X"),
]


@pytest.mark.parametrize(("made", "accelerators"), HEALTHY)
def test_a_host_that_is_right_is_not_touched(made: DriverPlan, accelerators: Any) -> None:
    facts = in_order(made, accelerators)
    assert steps.software(made, facts) == []
    assert steps.services(made, facts) == []
    assert steps.loading(made, facts) == []
    assert steps.reboot_reasons(made, facts) == []
    assert steps.drain_reasons(made, facts) == []


@pytest.mark.parametrize(
    "spec",
    [
        lab_spec(),
        engine_spec(accelerator_drivers="external"),
        engine_spec(accelerator_drivers="external", accelerator="mi300x"),
    ],
)
def test_no_drivers_without_accelerators_or_where_the_site_keeps_its_own(spec: EngineSpec) -> None:
    assert driver_plan(spec, DEBIAN) is None


def test_hopper_on_debian() -> None:
    made = plan()
    assert names(made) == [
        f"nvidia-driver-cuda={DRIVER}-*",
        f"nvidia-kernel-open-dkms={DRIVER}-*",
        f"nvidia-smi={DRIVER}-*",
        f"nvidia-persistenced={DRIVER}-*",
        f"nvidia-fabricmanager={DRIVER}-*",
        "nvidia-container-toolkit=1.20.0-*",
        "nvidia-container-toolkit-base=1.20.0-*",
        "libnvidia-container-tools=1.20.0-*",
        "libnvidia-container1=1.20.0-*",
    ]
    assert [str(one) for one in made.helpers] == ["linux-headers-6.1.0-41-amd64", "linux-headers-amd64"]
    assert made.services == ("nvidia-persistenced.service", "nvidia-fabricmanager.service")
    assert made.kernel_parameters == ()
    assert [source.files[1].content for source in made.sources] == [
        "deb [arch=amd64 signed-by=/etc/apt/keyrings/barewind-nvidia.asc] "
        "https://developer.download.nvidia.com/compute/cuda/repos/debian12/x86_64/ /\n",
        "deb [arch=amd64 signed-by=/etc/apt/keyrings/barewind-nvidia-toolkit.asc] "
        "https://nvidia.github.io/libnvidia-container/stable/deb/amd64 /\n",
    ]


def test_the_fabric_manager_moves_with_the_driver() -> None:
    made = plan(nvidia_driver="580.95.05")
    versions = {package.name: package.version for package in made.packages}
    assert versions["nvidia-fabricmanager"] == versions["nvidia-kernel-open-dkms"] == "580.95.05-*"


def test_blackwell_on_ubuntu_has_the_subnet_manager() -> None:
    made = plan(NOBLE, accelerator="b200")
    assert {"nvidia-dkms-580-open", "nvlsm", "nvidia-fabricmanager"} <= {package.name for package in made.packages}
    assert made.extra_modules == ("ib_umad",)
    assert "/ubuntu2404/x86_64/ /" in made.sources[0].files[1].content
    (modules,) = [file for file in made.files if file.path == "/etc/modules-load.d/barewind.conf"]
    assert modules.content.endswith("\nib_umad\n")


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, True),
        ({"accelerator_count": 4}, False),
        ({"nvidia_fabric_manager": False}, False),
        ({"accelerator_count": 4, "nvidia_fabric_manager": True}, True),
    ],
)
def test_fabric_manager_only_behind_switches_unless_told(changes: dict[str, Any], wanted: bool) -> None:
    made = plan(**changes)
    assert ("nvidia-fabricmanager.service" in made.services) is wanted
    assert ("nvidia-fabricmanager" in {package.name for package in made.packages}) is wanted


def test_proprietary_modules_where_asked_for() -> None:
    assert "nvidia-kernel-dkms" in {package.name for package in plan(nvidia_modules="proprietary").packages}


@pytest.mark.parametrize(
    ("system", "suite", "parameters"),
    [
        (DEBIAN, "jammy", ("intel_iommu=on", "iommu=pt", "pci=realloc=off")),
        (JAMMY, "jammy", ("iommu=pt", "pci=realloc=off")),
        (NOBLE, "noble", ("intel_iommu=on", "iommu=pt", "pci=realloc=off")),
    ],
)
def test_amd(system: System, suite: str, parameters: tuple[str, ...]) -> None:
    made = plan(system, accelerator="mi300x", amdgpu_release="30.20.1")
    assert made.sources[0].files[1].content == (
        "deb [arch=amd64 signed-by=/etc/apt/keyrings/barewind-amdgpu.asc] "
        f"https://repo.radeon.com/amdgpu/30.20.1/ubuntu {suite} main\n"
    )
    assert made.kernel_parameters == parameters
    files = {file.path: file.content for file in made.files}
    words = " ".join(parameters)
    assert f'GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX {words}"' in files["/etc/default/grub.d/90-barewind.cfg"]
    assert "kernel.numa_balancing = 0\n" in files["/etc/sysctl.d/90-barewind.conf"]
    assert made.packages[0].is_in({"amdgpu-dkms": {"version": "1:6.16.6.30200100-2255209.22.04", "held": True}})
    assert not made.packages[0].is_in({"amdgpu-dkms": {"version": "1:6.14.14.30100000-2193512.22.04", "held": True}})


@pytest.mark.parametrize(("release", "code"), [("6.4.3", "60403"), ("30.10", "30100000"), ("30.20.1", "30200100")])
def test_release_as_it_stands_in_package_versions(release: str, code: str) -> None:
    assert package_code(release) == code


def test_a_fresh_host_gets_everything_in_order() -> None:
    made = plan()
    bare = _bare(hosts.h200_hgx())
    todo = steps.software(made, {"accelerators": bare, "files": {}, "components": ["main"]})
    what = [step.title for step in todo]
    assert what[0] == "write /etc/apt/keyrings/barewind-nvidia.asc"
    assert what.index("write /etc/apt/preferences.d/barewind") < what.index("ask the repositories")
    assert what[-3:] == [
        "ask the repositories",
        f"nvidia driver none -> {DRIVER}",
        "hold the driver's packages",
    ]
    assert [step.title for step in todo if step.disruptive] == [what[-2]]


def _bare(accelerators: Any) -> Any:
    none = {"loaded": None, "installed": None, "flavour": None}
    cards = [card | {"driver": ""} for card in accelerators["pci"]]
    return accelerators | {"pci": cards, "packages": {}, "modules": {"nvidia": none, "amdgpu": none}}


def test_an_upgrade_is_disruptive_and_says_from_what_to_what() -> None:
    facts = in_order(plan(nvidia_driver="580.95.05"), hosts.h200_hgx())
    made = plan()
    assert steps.drain_reasons(made, facts) == [f"nvidia driver 580.95.05-1 -> {DRIVER}"]
    (install,) = [step for step in steps.software(made, facts) if step.disruptive]
    assert f"'nvidia-fabricmanager={DRIVER}-*'" in install.command
    assert "--allow-change-held-packages" in install.command


def test_a_missing_hold_is_put_right_beside_a_running_engine() -> None:
    made = plan()
    facts = in_order(made, hosts.h200_hgx())
    facts["accelerators"]["packages"]["libcuda1"] = {"version": f"{DRIVER}-1", "held": False}
    assert [step.title for step in steps.software(made, facts)] == ["hold the driver's packages"]
    assert steps.drain_reasons(made, facts) == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"loaded": "580.95.05"}, f"kernel module nvidia 580.95.05, installed is {DRIVER}"),
        ({"loaded": None}, f"kernel module nvidia is not loaded, installed is {DRIVER}"),
    ],
)
def test_a_restart_when_another_module_runs_than_is_installed(changes: dict[str, Any], reason: str) -> None:
    made = plan()
    accelerators = hosts.h200_hgx()
    module = accelerators["modules"]["nvidia"] | changes
    facts = in_order(made, accelerators | {"modules": accelerators["modules"] | {"nvidia": module}})
    assert steps.reboot_reasons(made, facts) == [reason]
    assert steps.drain_reasons(made, facts) == [f"restart: {reason}"]


def test_amd_restarts_for_kernel_parameters_and_for_the_kernels_own_module() -> None:
    made = plan(JAMMY, accelerator="mi300x")
    accelerators = hosts.mi300x()
    module = {"loaded": "5.15.0-161-generic", "installed": "6.16.6", "flavour": "dkms"}
    changed = accelerators | {
        "modules": accelerators["modules"] | {"amdgpu": module},
        "kernel": accelerators["kernel"] | {"command_line": ["quiet", "iommu=pt"]},
    }
    assert steps.reboot_reasons(made, in_order(made, changed)) == [
        "kernel module amdgpu 5.15.0-161-generic, installed is 6.16.6",
        "kernel parameters pci=realloc=off are not active",
    ]


@pytest.mark.parametrize(("bound", "loads"), [("", True), ("nouveau", False)])
def test_a_module_is_loaded_without_a_restart_unless_another_driver_has_the_cards(bound: str, loads: bool) -> None:
    made = plan()
    bare = _bare(hosts.h200_hgx())
    bare["pci"] = [card | {"driver": bound} for card in bare["pci"]]
    assert bool(steps.loading(made, {"accelerators": bare, "files": {}, "components": ["main"]})) is loads


def test_numa_balancing_switched_on_again_is_switched_off() -> None:
    made = plan(JAMMY, accelerator="mi300x")
    accelerators = hosts.mi300x()
    facts = in_order(made, accelerators | {"kernel": accelerators["kernel"] | {"numa_balancing": 1}})
    assert [step.command for step in steps.software(made, facts)] == ["sysctl -q -p /etc/sysctl.d/90-barewind.conf"]
    assert steps.drain_reasons(made, facts) == []


def test_services_that_do_not_run_are_started_and_devices_listed() -> None:
    made = plan()
    accelerators = hosts.h200_hgx(
        fabric={"active": False},
        persistenced={"active": False, "enabled": False},
        toolkit={"cdi_devices": ["0", "1", "all"]},
    )
    facts = in_order(made, accelerators)
    assert [step.title for step in steps.services(made, facts)] == [
        "start nvidia-persistenced.service",
        "start nvidia-fabricmanager.service",
        "list devices for containers",
    ]
    assert steps.drain_reasons(made, facts) == ["the fabric manager does not run"]


def test_a_toolkit_upgrade_alone_is_named() -> None:
    facts = in_order(plan(nvidia_container_toolkit="1.19.0"), hosts.h200_hgx())
    assert steps.drain_reasons(plan(), facts) == ["nvidia-container-toolkit 1.19.0-1 -> 1.20.0"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "deb http://deb.debian.org/debian bookworm main\n",
            "deb http://deb.debian.org/debian bookworm main contrib\n",
        ),
        (
            "Types: deb\nURIs: http://deb.debian.org/debian\nSuites: bookworm\ncomponents:\tmain\n",
            "Types: deb\nURIs: http://deb.debian.org/debian\nSuites: bookworm\ncomponents:\tmain contrib\n",
        ),
        (
            "deb\thttp://deb.debian.org/debian\tbookworm\tmain\n",
            "deb\thttp://deb.debian.org/debian\tbookworm\tmain contrib\n",
        ),
        (
            "Types: deb\nURIs: http://deb.debian.org/debian\nSuites: bookworm\nComponents: main non-free-firmware\n",
            "Types: deb\nURIs: http://deb.debian.org/debian\nSuites: bookworm\nComponents: main non-free-firmware contrib\n",
        ),
    ],
)
def test_a_component_is_added_where_the_distributions_repository_stands(
    tmp_path: Path, before: str, after: str
) -> None:
    sources = tmp_path / ("a.list" if before.startswith("deb") else "a.sources")
    sources.write_text(before)
    (tmp_path / "os-release").write_text("VERSION_CODENAME=bookworm\n")
    (tmp_path / "apt-get").write_text(f"#!/bin/sh\necho 'jammy main /nowhere:1'; echo 'bookworm main {sources}:1'\n")
    (tmp_path / "apt-get").chmod(0o755)
    bare = _bare(hosts.h200_hgx())
    todo = steps.software(plan(), {"accelerators": bare, "files": {}, "components": ["main"]})
    (step,) = [one for one in todo if one.title.startswith("add contrib")]

    command = step.command.replace("/etc/os-release", str(tmp_path / "os-release"))
    for _ in range(2):
        subprocess.run(["sh", "-ec", command], env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, check=True)

    assert sources.read_text() == after


@pytest.mark.parametrize(
    ("lines", "changes", "said"),
    [
        (
            [f"/etc/apt/sources.list.d/cuda.list:deb [signed-by=/x] {CUDA}/debian12/x86_64/ /"],
            {},
            ["/etc/apt/sources.list.d/cuda.list names " + CUDA],
        ),
        (["/etc/apt/sources.list:deb http://deb.debian.org/debian bookworm main"], {}, []),
        (
            [
                f"/etc/apt/sources.list.d/docker.sources:{line}"
                for line in ("Types: deb", "URIs:", "\thttps://download.docker.com/linux/debian")
            ],
            {},
            [],
        ),
        (
            [
                f"/etc/apt/sources.list.d/docker.sources:{line}"
                for line in ("Types: deb", "URIs:", "\thttps://download.docker.com/linux/debian")
            ],
            {"docker_source": "vendor"},
            ["/etc/apt/sources.list.d/docker.sources names https://download.docker.com/linux"],
        ),
        (
            [
                f"/etc/apt/sources.list.d/docker.sources:{line}"
                for line in ("Enabled: no", "Types: deb", "URIs: https://download.docker.com/linux/debian")
            ],
            {"docker_source": "vendor"},
            [],
        ),
        (["/usr/bin/nvidia-uninstall"], {}, ["has a driver of NVIDIA's .run installer"]),
        (["/usr/bin/nvidia-uninstall"], {"accelerator_drivers": "external"}, []),
    ],
)
def test_what_others_put_there_is_found_before_apt_trips_over_it(
    lines: list[str], changes: dict[str, Any], said: list[str]
) -> None:
    found = [one.finding for one in foreign.problems(engine_spec(**changes), lines)]
    assert len(found) == len(said)
    for finding, text in zip(found, said, strict=True):
        assert finding.startswith(text)


@pytest.mark.parametrize(
    ("accelerators", "runtimes", "settled"),
    [
        ({}, {"nvidia"}, True),
        ({}, set(), True),
        ({"runtimes": ["runc"]}, {"nvidia"}, False),
        ({"runtimes": ["runc"]}, set(), True),
        ({"modules": {"nvidia": {"loaded": "570.172.08"}}}, {"nvidia"}, False),
        ({"persistenced": {"enabled": False}}, {"nvidia"}, False),
        ({"fabric": {"active": False}}, {"nvidia"}, False),
    ],
    ids=[
        "in order",
        "in order, no runtime wanted",
        "runtime",
        "no runtime wanted",
        "module",
        "daemon",
        "fabric manager",
    ],
)
def test_a_host_is_settled_when_nothing_is_left_to_do(
    accelerators: dict[str, Any], runtimes: set[str], settled: bool
) -> None:
    made = plan()
    assert steps.settled(made, in_order(made, hosts.h200_hgx(**accelerators)), runtimes) is settled


def test_a_host_whose_packages_are_older_is_not_settled() -> None:
    made = plan()
    facts = in_order(made, hosts.h200_hgx())
    facts["accelerators"]["packages"]["nvidia-smi"]["version"] = "570.172.08-1"
    assert not steps.settled(made, facts, {"nvidia"})


@pytest.mark.parametrize(
    ("changes", "repositories"),
    [
        ({}, ("nvidia", "nvidia-toolkit")),
        ({"docker_source": "vendor"}, ("docker", "nvidia", "nvidia-toolkit")),
        ({"docker_source": "vendor", "accelerator_drivers": "external"}, ("docker",)),
        ({"accelerator": "mi300x"}, ("amdgpu", "rocm")),
        ({"accelerator": "mi300x", "rocm_release": None}, ("amdgpu",)),
        ({"accelerator": "mi300x", "amd_container_access": "toolkit"}, ("amdgpu", "rocm", "amd-toolkit")),
        ({"accelerator": "cpu"}, ()),
    ],
)
def test_repositories_that_a_host_uses(changes: dict[str, Any], repositories: tuple[str, ...]) -> None:
    assert needed(engine_spec(**changes)) == repositories
    check_keys([engine_spec(**changes)])


def test_a_key_that_cannot_be_read_names_host_and_file_once() -> None:
    specs = [engine_spec(host=name, repository_keys={"nvidia": "/no/such.asc"}) for name in ("gpu-h1", "gpu-h2")]
    with pytest.raises(BarewindError, match=r"^gpu-h1: /no/such.asc: cannot be read .*; correct 'repository_keys'.$"):
        check_keys(specs)
