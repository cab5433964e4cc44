"""The driver plan of a host with NVIDIA accelerators."""

from __future__ import annotations

from barewind import catalog
from barewind.catalog.drivers import drivers
from barewind.drivers import DriverPlan, System, settings
from barewind.drivers.sources import source
from barewind.packages import Package
from barewind.spec import EngineSpec

_UNATTENDED = ("nvidia", "libnvidia", "libcuda", "libnv", "cuda-drivers", "nvlsm")
_HGX = 8  # accelerators on a board whose NVSwitches need the fabric manager


def plan(spec: EngineSpec, system: System) -> DriverPlan:
    """Driver, fabric manager and container toolkit at exact versions; what daemons and kernel modules go with them."""
    vendor = drivers().nvidia
    names = vendor.systems[system.name]
    exact = f"{spec.nvidia_driver}-*"
    accelerator = catalog.accelerators()[spec.accelerator]
    fabric = needs_fabric_manager(spec)
    subnet_manager = (
        fabric and accelerator.architecture == "blackwell"
    )  # its NVLink switches are run by nvlsm over ib_umad
    own = [*names.names(spec.nvidia_driver, spec.nvidia_modules), *(names.fabric if fabric else ())]
    extra = ("ib_umad",) if subnet_manager else ()
    return DriverPlan(
        vendor="nvidia",
        version=spec.nvidia_driver,
        module="nvidia",
        sources=(
            source(spec, "nvidia", distribution=names.distribution),
            source(spec, "nvidia-toolkit"),
        ),
        packages=(
            *(Package(name, exact) for name in own),
            *(Package(name) for name in (names.fabric_loose if subnet_manager else ())),
            *(Package(name, f"{spec.nvidia_container_toolkit}-*") for name in vendor.toolkit),
        ),
        helpers=(Package(f"linux-headers-{system.kernel}"), Package(names.headers)),
        held=(exact,),
        files=(
            settings.preferences(" ".join(vendor.pin), f"version {exact}"),
            settings.unattended(_UNATTENDED),
            settings.modules(extra),
            settings.sysctl(spec),
            settings.transparent_hugepages(spec),
        ),
        components=names.components,
        extra_modules=extra,
        services=("nvidia-persistenced.service", *(["nvidia-fabricmanager.service"] if fabric else [])),
        fabric_manager=fabric,
    )


def needs_fabric_manager(spec: EngineSpec) -> bool:
    """Whether the host's accelerators sit behind NVSwitches: unless told, eight of a kind that HGX boards carry."""
    if spec.nvidia_fabric_manager != "auto":
        return spec.nvidia_fabric_manager
    return catalog.accelerators()[spec.accelerator].fabric and spec.accelerator_count == _HGX
