"""The driver plan of a host with AMD accelerators."""

from __future__ import annotations

from urllib.parse import urlsplit

from barewind.drivers import settings
from barewind.drivers.amd import kernel
from barewind.drivers.amd.packages import packages
from barewind.drivers.headers import helpers
from barewind.drivers.model import DriverPlan, System
from barewind.hosts.apt_sources import source
from barewind.hosts.packages import Package
from barewind.spec.keys import EngineSpec

_PINNED = "amdgpu* libdrm-amdgpu* libdrm2-amdgpu amd-smi-lib rocm-core"
_UNATTENDED = ("amdgpu", "libdrm.*-amdgpu", "amd-smi", "rocm")
_FOUR_PARTS = 30  # since driver 30.x the package's version has a fourth pair of digits


def plan(spec: EngineSpec, system: System) -> DriverPlan:
    """Kernel driver of one release, kernel parameters, NUMA balancing off; the containers bring ROCm with them."""
    known = packages()
    names = known.systems[system.name]
    sources = [source(spec, "amdgpu", release=spec.amdgpu_release, suite=names.suite)]
    tools: tuple[str, ...] = ()
    if spec.rocm_release is not None:
        sources.append(source(spec, "rocm", release=spec.rocm_release, suite=names.suite))
        tools = known.tools
    if spec.amd_container_access == "toolkit":
        sources.append(source(spec, "amd-toolkit", suite=names.suite))
        tools += names.toolkit
    parameters = kernel.kernel_parameters(system.cpu_vendor)
    exact = f"*.{package_code(spec.amdgpu_release)}-*"
    return DriverPlan(
        vendor="amd",
        version=spec.amdgpu_release,
        module=kernel.MODULE,
        module_flavour=kernel.DKMS,
        sources=tuple(sources),
        packages=tuple(Package(name, exact) for name in known.driver),
        helpers=(*helpers(system, names.headers), *map(Package, tools)),
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


def repositories(spec: EngineSpec) -> tuple[str, ...]:
    """Names of the apt repositories that a host uses."""
    tools = ("rocm",) if spec.rocm_release else ()
    toolkit = ("amd-toolkit",) if spec.amd_container_access == "toolkit" else ()
    return ("amdgpu", *tools, *toolkit)


def package_code(release: str) -> str:
    """The release as it stands in a package's version: 6.4.3 is 60403, 30.20.1 is 30200100."""
    major, minor, patch = (int(part) for part in f"{release}.0".split(".")[:3])
    return f"{major}{minor:02}{patch:02}" + ("00" if major >= _FOUR_PARTS else "")
