"""Which packages bring headers with each new kernel: a kernel without them boots without a driver."""

from __future__ import annotations

import pytest

from barewind.drivers.headers import following, helpers
from barewind.drivers.model import System
from barewind.drivers.plan import driver_plan
from tests.support.accelerator_hosts import bare, changed, h200_hgx
from tests.support.factories import engine_spec

ORDINARY = {"debian 12": "linux-headers-amd64"}


@pytest.mark.parametrize(
    ("system", "kernel", "package"),
    [
        ("ubuntu 24.04", "6.8.0-88-generic", "linux-headers-generic"),
        ("ubuntu 24.04", "6.14.0-33-generic", "linux-headers-generic-hwe-24.04"),
        ("ubuntu 24.04", "6.11.0-29-lowlatency", "linux-headers-lowlatency-hwe-24.04"),
        ("ubuntu 22.04", "5.15.0-161-generic", "linux-headers-generic"),
        ("ubuntu 22.04", "6.8.0-60-generic", "linux-headers-generic-hwe-22.04"),
        ("ubuntu 24.04", "6.14.0-1015-aws", "linux-headers-aws"),
        ("ubuntu 24.04", "6.8.0-1030-azure", "linux-headers-azure"),
        ("ubuntu 24.04", "6.8.0-1028-gcp", "linux-headers-gcp"),
        ("ubuntu 22.04", "5.15.0-1090-oracle", "linux-headers-oracle"),
        ("ubuntu 24.04", "6.8.0-1020-nvidia", "linux-headers-nvidia"),
        ("ubuntu 24.04", "6.14.0-1003-nvidia", "linux-headers-nvidia-hwe-24.04"),
        ("ubuntu 22.04", "5.15.0-1045-nvidia-lowlatency", "linux-headers-nvidia-lowlatency"),
        ("debian 12", "6.1.0-41-amd64", "linux-headers-amd64"),
        ("debian 12", "6.1.0-40-cloud-amd64", "linux-headers-cloud-amd64"),
        ("debian 12", "6.1.0-40-rt-amd64", "linux-headers-rt-amd64"),
        ("debian 12", "6.12.9+bpo-cloud-amd64", "linux-headers-cloud-amd64"),
        ("debian 12", "6.12.43+deb12-amd64", "linux-headers-amd64"),
        # nobody's: the distribution's ordinary one is as good as any
        ("ubuntu 24.04", "6.9.3", "linux-headers-generic"),
        ("ubuntu 24.04", "6.9.3-custom", "linux-headers-generic"),
        ("debian 12", "6.8.12-4-pve", "linux-headers-amd64"),
        ("debian 12", "", "linux-headers-amd64"),
        ("elsewhere 1", "6.1.0-41-amd64", "linux-headers-generic"),
    ],
)
def test_by_the_kernel_that_runs(system: str, kernel: str, package: str) -> None:
    ordinary = ORDINARY.get(system, "linux-headers-generic")
    assert following(System(system, "GenuineIntel", kernel), ordinary) == (package,)


@pytest.mark.parametrize(
    ("images", "packages"),
    [
        (["linux-image-generic-hwe-24.04"], ["linux-headers-generic-hwe-24.04"]),
        (["linux-image-aws-lts-24.04", "linux-image-6.8.0-1021-aws"], ["linux-headers-aws-lts-24.04"]),
        (["linux-image-virtual"], ["linux-headers-virtual"]),
        (["linux-image-amd64", "linux-image-cloud-amd64"], ["linux-headers-amd64", "linux-headers-cloud-amd64"]),
        (["linux-image-oem-24.04c", "linux-image-unsigned-6.8.0-1-oem"], ["linux-headers-oem-24.04c"]),
        (["linux-image-extra-virtual", "linux-image-6.8.0-88-generic"], ["linux-headers-generic"]),
        (["linux-image-amd64-dbg"], ["linux-headers-generic"]),
    ],
)
def test_by_the_kernels_that_are_installed(images: list[str], packages: list[str]) -> None:
    installed = {name: {"version": "1", "held": False} for name in images}
    facts = changed(bare(h200_hgx()), kernel={"running": "6.8.0-88-generic"}, packages=installed)
    system = System.of("ubuntu 24.04", facts)
    assert list(following(system, "linux-headers-generic")) == packages
    assert [str(package) for package in helpers(system, "linux-headers-generic")] == [
        "linux-headers-6.8.0-88-generic",
        *packages,
    ]


@pytest.mark.parametrize("values", [{}, {"accelerator": "mi300x", "speculative": False}], ids=["h200", "mi300x"])
def test_every_vendors_plan_has_them(values: dict[str, object]) -> None:
    plan = driver_plan(engine_spec(**values), System("ubuntu 24.04", "GenuineIntel", "6.14.0-33-generic"))
    assert plan is not None
    assert {"linux-headers-6.14.0-33-generic", "linux-headers-generic-hwe-24.04"} <= {one.name for one in plan.helpers}
