"""What each operating system changes: where software comes from, what it is called, what cannot be had and is refused.

The rows are facts of public sources: os-release and versions of the distributions' packages as their archives had them on
2026-11-29, the vendors' repositories as catalog/vendors.yaml cites them. No row says that a vendor's driver was run on it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from barewind.catalog.docker import docker
from barewind.docker import daemon
from barewind.docker.plan import docker_plan
from barewind.drivers.model import EXTERNAL, System
from barewind.drivers.plan import driver_plan, unpublished
from barewind.preflight import checks
from barewind.preflight.facts import HostFacts
from tests.support.accelerator_hosts import bare, h200_hgx
from tests.support.factories import engine_spec, plan
from tests.support.shell import Shell


@dataclass(frozen=True)
class Row:
    """A system: its os-release, its kernel, and what is installed on it."""

    os_release: str
    kernel: str
    docker: list[str]
    docker_suite: str
    docker_packaged: str
    nvidia: str
    nvidia_packages: list[str]
    amd_suite: str | None
    refused: dict[str, str] = field(default_factory=dict)  # vendor -> beginning of the finding


_UBUNTU_580 = ["libnvidia-compute-580", "libnvidia-cfg1-580", "nvidia-dkms-580-open", "nvidia-utils-580"]
_UBUNTU_NEW = ["libnvidia-compute", "libnvidia-cfg1", "nvidia-dkms-open", "nvidia-persistenced"]
_DEBIAN = ["nvidia-driver-cuda", "nvidia-kernel-open-dkms", "nvidia-smi", "nvidia-persistenced"]
_KEY = "NVIDIA signs its packages for {} with a key that does not come with Barewind"

SYSTEMS = {
    "debian 12": Row(
        'ID=debian\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\n',
        "6.1.0-41-amd64",
        ["docker.io"],
        "debian bookworm",
        "20.10.24",
        "debian12",
        _DEBIAN,
        "jammy",
    ),
    "debian 13": Row(
        'ID=debian\nVERSION_ID="13"\nVERSION_CODENAME=trixie\n',
        "6.12.118+deb13-amd64",
        ["docker.io", "docker-cli"],
        "debian trixie",
        "26.1.5",
        "debian13",
        _DEBIAN,
        "noble",
        {"nvidia": _KEY.format("debian 13")},
    ),
    "ubuntu 22.04": Row(
        'ID=ubuntu\nVERSION_ID="22.04"\nVERSION_CODENAME=jammy\n',
        "5.15.0-161-generic",
        ["docker.io"],
        "ubuntu jammy",
        "29.1.3",
        "ubuntu2204",
        _UBUNTU_580,
        "jammy",
    ),
    "ubuntu 24.04": Row(
        'ID=ubuntu\nVERSION_ID="24.04"\nVERSION_CODENAME=noble\n',
        "6.8.0-88-generic",
        ["docker.io"],
        "ubuntu noble",
        "29.1.3",
        "ubuntu2404",
        _UBUNTU_580,
        "noble",
    ),
    "ubuntu 26.04": Row(
        'ID=ubuntu\nVERSION_ID="26.04"\nVERSION_CODENAME=resolute\n',
        "7.0.0-44-generic",
        ["docker.io"],
        "ubuntu resolute",
        "29.1.3",
        "ubuntu2604",
        _UBUNTU_NEW,
        None,
        {
            "nvidia": _KEY.format("ubuntu 26.04"),
            "amd": "AMD publishes no drivers that Barewind knows of for ubuntu 26.04",
        },
    ),
}
NEW_DRIVER = "595.91.07"  # builds for kernel 7.0
KEY = {"repository_keys": {"nvidia": "barewind/catalog/keys/nvidia.asc"}}


def system(name: str, kernel: str = "") -> System:
    return System(name, "GenuineIntel", kernel or SYSTEMS[name].kernel)


def test_every_supported_system_has_a_row() -> None:
    assert tuple(SYSTEMS) == checks.SUPPORTED_SYSTEMS


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_system_is_known_by_its_os_release(shell: Shell, tmp_path: Path, name: str) -> None:
    (tmp_path / "os-release").write_text(SYSTEMS[name].os_release)
    command = HostFacts().command(["/"], [(None, 8000)], "", [])
    read = command.replace("/etc/os-release", str(tmp_path / "os-release"))
    assert HostFacts().process(shell(read).stdout.splitlines())["os"] == name


@pytest.mark.parametrize("name", SYSTEMS)
def test_docker_of_the_distribution_is_the_daemon_with_its_command(name: str) -> None:
    made = docker_plan(engine_spec(), name)
    assert list(made.held) == SYSTEMS[name].docker
    assert set(made.held) <= {package.name for package in made.packages}
    assert docker().systems[name].packaged == SYSTEMS[name].docker_packaged
    vendor = docker_plan(engine_spec(docker_source="vendor"), name)
    assert f"linux/{SYSTEMS[name].docker_suite} stable" in vendor.files[1].content
    assert list(vendor.replaced) == SYSTEMS[name].docker


@pytest.mark.parametrize("name", SYSTEMS)
def test_nvidias_repository_and_packages(name: str) -> None:
    new = name == "ubuntu 26.04"
    made = driver_plan(engine_spec(**KEY, **({"nvidia_driver": NEW_DRIVER} if new else {})), system(name))
    assert made is not None
    assert f"/{SYSTEMS[name].nvidia}/x86_64/ /" in made.sources[0].rest
    assert [package.name for package in made.packages][:4] == SYSTEMS[name].nvidia_packages
    assert f"linux-headers-{SYSTEMS[name].kernel}" in {package.name for package in made.helpers}


@pytest.mark.parametrize("name", [name for name, row in SYSTEMS.items() if row.amd_suite])
def test_amds_suite(name: str) -> None:
    made = driver_plan(engine_spec(accelerator="mi300x"), system(name))
    assert made is not None
    assert f"/30.30.3/ubuntu {SYSTEMS[name].amd_suite} main" in made.sources[0].rest


@pytest.mark.parametrize(("vendor", "accelerator"), [("nvidia", "h200"), ("amd", "mi300x")])
@pytest.mark.parametrize("name", SYSTEMS)
def test_what_cannot_be_had_is_refused_and_the_sites_own_drivers_are_not(
    name: str, vendor: str, accelerator: str
) -> None:
    spec = engine_spec(accelerator=accelerator, nvidia_driver=NEW_DRIVER)
    found = unpublished(spec, system(name))
    wanted = SYSTEMS[name].refused.get(vendor)
    assert [finding for finding, _ in found] == ([wanted] if wanted else [])
    assert all(remedy.endswith(EXTERNAL) for _, remedy in found)
    assert unpublished(engine_spec(accelerator=accelerator, accelerator_drivers="external"), system(name)) == []


@pytest.mark.parametrize("name", ["debian 13", "ubuntu 26.04"])
def test_the_vendors_own_key_is_asked_for_and_then_enough(name: str) -> None:
    ((_, remedy),) = unpublished(engine_spec(nvidia_driver=NEW_DRIVER), system(name))
    assert remedy.startswith(
        f"get it from https://developer.download.nvidia.com/compute/cuda/repos/{SYSTEMS[name].nvidia}/x86_64/"
    )
    assert "repository_keys = {'nvidia': 'FILE'}" in remedy
    assert unpublished(engine_spec(nvidia_driver=NEW_DRIVER, **KEY), system(name)) == []


KERNELS = [
    # kernel, driver, whether it builds (reports of 2026: those of catalog/vendors.yaml)
    ("7.0.0-44-generic", "580.119.02", False),
    ("7.0.0-44-generic", "580.126.09", False),
    ("7.0.1", "570.195.03", False),
    ("7.0.0-1011-gcp", "590.48.01", False),
    ("7.0.0-1011-gcp", "595.91.07", True),
    ("7.0.0-44-generic", "610.57.04", True),
    ("7.1.0-3-generic", "590.48.01", False),
    ("6.17.0-14-generic", "580.126.09", True),
    ("6.8.0-88-generic", "590.48.01", True),
    ("6.12.118+deb13-amd64", "580.126.09", True),
    ("", "580.126.09", True),  # not known: DKMS will say
]


@pytest.mark.parametrize(("kernel", "driver", "builds"), KERNELS)
def test_drivers_that_do_not_build_for_a_kernel(kernel: str, driver: str, *, builds: bool) -> None:
    found = unpublished(engine_spec(nvidia_driver=driver), System("ubuntu 24.04", "GenuineIntel", kernel))
    assert found == (
        []
        if builds
        else [
            (
                f"driver {driver} does not build for kernel {kernel}",
                f"set nvidia_driver to one of 595 or newer; or {EXTERNAL}",
            )
        ]
    )


def facts(name: str) -> dict[str, Any]:
    found = bare(h200_hgx())
    found["kernel"] = {**found["kernel"], "running": SYSTEMS[name].kernel}
    return {
        "os": name,
        "machine": "x86_64",
        "init": "systemd",
        "memory_kib": 2 * 2**30,
        "clock": 0.0,
        "disks": {
            path: {"free": 2**45, "mount": "/"}
            for path in ("/var/lib/barewind", "/var/lib/docker", "/var/lib/containerd")
        },
        "engines": [],
        "engine_units": [],
        "docker": None,
        "docker_daemon": daemon.read([]),
        "image_present": False,
        "weights_present": [],
        "accelerators": found,
        "foreign": [],
    }


@pytest.mark.parametrize("name", SYSTEMS)
def test_preflight_says_so_before_anything_changes(name: str) -> None:
    problems = checks.check_engine(plan(engine_spec(nvidia_driver=NEW_DRIVER)), facts(name), now=0)
    wanted = SYSTEMS[name].refused.get("nvidia")
    assert [problem.finding for problem in problems] == ([wanted] if wanted else [])
