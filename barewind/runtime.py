"""Docker Engine as a host shall have it: from the distribution or the vendor, its settings. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from barewind import catalog
from barewind.catalog.drivers import drivers
from barewind.drivers.sources import source
from barewind.files import HostFile
from barewind.packages import Installed, Package
from barewind.spec import EngineSpec

_BESIDE = ("ca-certificates", "curl", "nftables")  # what the steps and the unit call
# Runtimes of the vendors' toolkits, as their own `ctk runtime configure` writes them; taken over by a reload.
_RUNTIMES = {
    "nvidia": {"nvidia": {"path": "nvidia-container-runtime", "args": []}},
    "amd": {"amd": {"path": "amd-container-runtime", "args": []}},
    "none": {},
}


@dataclass(frozen=True)
class RuntimePlan:
    """Packages (those of `held` are held, those of `replaced` make way), the repository's files, settings for daemon.json."""

    packages: tuple[Package, ...]
    held: tuple[str, ...]
    replaced: tuple[str, ...]
    files: tuple[HostFile, ...]
    settings: dict[str, Any]


def plan(spec: EngineSpec, system: str) -> RuntimePlan:
    """Docker Engine for one host; `system` as facts tell it ("debian 12").

    Raises:
        BarewindError: the repository's key cannot be read, or is not the vendor's.
    """
    names = drivers().docker
    vendor = spec.docker_source == "vendor"
    own = names.vendor if vendor else names.distribution
    files: tuple[HostFile, ...] = ()
    if vendor:
        where = names.systems[system]
        files = source(spec, "docker", distribution=where.distribution, suite=where.suite).files
    version = f"5:{spec.docker_version}-*" if vendor and spec.docker_version else "*"
    return RuntimePlan(
        packages=(
            *(Package(name, version if name.startswith("docker") else "*") for name in own),
            *map(Package, _BESIDE),
        ),
        held=own,
        replaced=names.distribution if vendor else names.vendor,
        files=files,
        settings={"insecure-registries": list(spec.insecure_registries), "runtimes": _runtimes(spec)},
    )


def reasons(wanted: RuntimePlan, installed: Mapping[str, Installed]) -> list[str]:
    """Why a host must leave service for its Docker Engine: another one is there, and its containers end with it."""
    engines = [name for name in ("docker.io", "docker-ce") if name in installed]
    lacking = [one for one in wanted.packages if one.name in wanted.held and not one.is_in(installed)]
    return [f"{engines[0]} -> {', '.join(str(one) for one in lacking)}"] if engines and lacking else []


def _runtimes(spec: EngineSpec) -> dict[str, Any]:
    vendor = catalog.accelerators()[spec.accelerator].vendor
    if spec.accelerator_drivers == "external" or (vendor == "amd" and spec.amd_container_access == "devices"):
        return {}
    return _RUNTIMES[vendor]
