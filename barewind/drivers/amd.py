"""The driver plan of a host with AMD accelerators."""

from __future__ import annotations

from urllib.parse import urlsplit

from barewind.catalog.drivers import drivers
from barewind.drivers import DriverPlan, System, settings
from barewind.drivers.sources import source
from barewind.packages import Package
from barewind.readiness import kernel_parameters
from barewind.spec import EngineSpec

_PINNED = "amdgpu* libdrm-amdgpu* libdrm2-amdgpu amd-smi-lib rocm-core"
_UNATTENDED = ("amdgpu", "libdrm.*-amdgpu", "amd-smi", "rocm")
_FOUR_PARTS = 30  # since driver 30.x the package's version has a fourth pair of digits


def plan(spec: EngineSpec, system: System) -> DriverPlan:
    """Kernel driver of one release, kernel parameters, NUMA balancing off; the containers bring ROCm with them."""
    vendor = drivers().amd
    names = vendor.systems[system.name]
    repositories = [source(spec, "amdgpu", release=spec.amdgpu_release, suite=names.suite)]
    beside: tuple[str, ...] = ()
    if spec.rocm_release is not None:
        repositories.append(source(spec, "rocm", release=spec.rocm_release, suite=names.suite))
        beside = vendor.tools
    if spec.amd_container_access == "toolkit":
        repositories.append(source(spec, "amd-toolkit", suite=names.suite))
        beside += names.toolkit
    parameters = kernel_parameters(system.cpu_vendor)
    exact = f"*.{package_code(spec.amdgpu_release)}-*"
    return DriverPlan(
        vendor="amd",
        version=spec.amdgpu_release,
        module="amdgpu",
        sources=tuple(repositories),
        packages=tuple(Package(name, exact) for name in vendor.packages),
        helpers=(Package(f"linux-headers-{system.kernel}"), Package(names.headers), *map(Package, beside)),
        held=(exact,),
        files=(
            # A repository holds one release: its host is what tells its packages from the distribution's.
            settings.preferences(_PINNED, f'origin "{urlsplit(spec.amdgpu_repository).hostname}"'),
            settings.unattended(_UNATTENDED),
            settings.modules(()),
            settings.sysctl(spec, **{"kernel.numa_balancing": 0}),
            settings.transparent_hugepages(spec),
            settings.grub(parameters),
        ),
        kernel_parameters=parameters,
    )


def package_code(release: str) -> str:
    """The release as it stands in a package's version: 6.4.3 is 60403, 30.20.1 is 30200100."""
    major, minor, patch = (int(part) for part in f"{release}.0".split(".")[:3])
    return f"{major}{minor:02}{patch:02}" + ("00" if major >= _FOUR_PARTS else "")
