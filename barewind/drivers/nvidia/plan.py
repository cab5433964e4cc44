"""The driver plan of a host with NVIDIA accelerators."""

from __future__ import annotations

from barewind import catalog
from barewind.drivers import settings
from barewind.drivers.headers import helpers
from barewind.drivers.model import DriverPlan, System
from barewind.drivers.nvidia.packages import packages
from barewind.drivers.nvidia.software import FABRIC_MANAGER, PERSISTENCED, with_own
from barewind.hosts.apt_sources import source
from barewind.hosts.packages import Package
from barewind.spec.keys import EngineSpec

_UNATTENDED = ("nvidia", "libnvidia", "libcuda", "libnv", "cuda-drivers", "nvlsm")
_SWITCHES_OFF_THE_BUS = ("blackwell",)
_HGX = 8  # accelerators on a board whose NVSwitches need the fabric manager


def plan(spec: EngineSpec, system: System) -> DriverPlan:
    """Driver, fabric manager and container toolkit at exact versions; what daemons and kernel modules go with them."""
    known = packages()
    names = known.systems[system.name]
    exact = f"{spec.nvidia_driver}-*"
    accelerator = catalog.accelerators()[spec.accelerator]
    switches = None if system.accelerators is None else with_own(system.accelerators)["nvswitches"]
    fabric = needs_fabric_manager(spec, switches)
    # Blackwell's NVLink switches are run by a subnet manager, nvlsm, over ib_umad
    subnet_manager = fabric and accelerator.architecture == "blackwell"
    own = [*names.names(spec.nvidia_driver, spec.nvidia_modules), *(names.fabric if fabric else ())]
    extra = ("ib_umad",) if subnet_manager else ()
    return DriverPlan(
        vendor="nvidia",
        version=spec.nvidia_driver,
        module="nvidia",
        module_version=spec.nvidia_driver,
        sources=(
            source(spec, "nvidia", distribution=names.distribution),
            source(spec, "nvidia-toolkit"),
        ),
        packages=(
            *(Package(name, exact) for name in own),
            *(Package(name) for name in (names.fabric_loose if subnet_manager else ())),
            *(Package(name, f"{spec.nvidia_container_toolkit}-*") for name in known.toolkit),
        ),
        helpers=helpers(system, names.headers),
        held=(exact,),
        files=(
            settings.preferences(" ".join(known.pin), f"version {exact}"),
            settings.unattended(_UNATTENDED),
            settings.modules(extra),
            settings.sysctl(spec),
            settings.transparent_hugepages(spec),
        ),
        components=names.components,
        extra_modules=extra,
        services=(PERSISTENCED, *([FABRIC_MANAGER] if fabric else [])),
    )


def repositories(_: EngineSpec) -> tuple[str, ...]:
    """Names of the apt repositories that a host uses."""
    return ("nvidia", "nvidia-toolkit")


def needs_fabric_manager(spec: EngineSpec, switches: int | None) -> bool:
    """Whether the host's accelerators sit behind NVSwitches that want the fabric manager.

    Unless a key tells, its PCI bus does: cards in PCIe slots (H200 NVL) have none, nor has a virtual machine, whose host runs the
    fabric manager. Where the switches are no PCI devices, eight of a kind that HGX boards carry have them.

    + switches: NVSwitches on the PCI bus; None: not known
    """
    if spec.nvidia_fabric_manager != "auto":
        return spec.nvidia_fabric_manager
    accelerator = catalog.accelerators()[spec.accelerator]
    if switches or (switches is not None and accelerator.architecture not in _SWITCHES_OFF_THE_BUS):
        return bool(switches)
    return accelerator.fabric and spec.accelerator_count == _HGX
