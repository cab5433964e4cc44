"""Docker Engine as a host shall have it: from the distribution or the vendor, its settings. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from barewind.catalog.docker import docker
from barewind.docker.devices import access
from barewind.hosts.apt_sources import source
from barewind.hosts.file import HostFile
from barewind.hosts.packages import Installed, Package
from barewind.spec.keys import EngineSpec

_BESIDE = ("ca-certificates", "curl", "nftables")  # what the steps and the unit call


@dataclass(frozen=True)
class DockerPlan:
    """Packages (those of `held` are held, those of `replaced` make way), the repository's files, settings for daemon.json."""

    packages: tuple[Package, ...]
    held: tuple[str, ...]
    replaced: tuple[str, ...]
    files: tuple[HostFile, ...]
    settings: dict[str, Any]

    @property
    def runtimes(self) -> frozenset[str]:
        """Names of the runtimes that containers with accelerators need."""
        return frozenset(self.settings["runtimes"])


def repositories(spec: EngineSpec) -> tuple[str, ...]:
    """Names of the apt repositories that Docker Engine comes from, beside the distribution's."""
    return ("docker",) if spec.docker_source == "vendor" else ()


def docker_plan(spec: EngineSpec, system: str) -> DockerPlan:
    """Docker Engine for one host; `system` as facts tell it ("debian 12").

    Raises:
        BarewindError: the repository's key cannot be read, or is not the vendor's.
        KeyError: the vendor has no packages for that system.
    """
    names = docker()
    vendor = spec.docker_source == "vendor"
    release = names.systems.get(system)
    of_distribution = (*names.distribution, *(release.beside if release else ()))
    own = names.vendor if vendor else of_distribution
    files: tuple[HostFile, ...] = ()
    if vendor:
        release = names.systems[system]
        files = source(spec, "docker", distribution=release.distribution, suite=release.suite).files
    version = f"5:{spec.docker_version}-*" if vendor and spec.docker_version else "*"
    runtimes = access(spec).runtimes if spec.accelerator_drivers == "managed" else {}
    return DockerPlan(
        packages=(
            *(Package(name, version if name.startswith("docker") else "*") for name in own),
            *map(Package, _BESIDE),
        ),
        held=own,
        replaced=of_distribution if vendor else names.vendor,
        files=files,
        settings={"insecure-registries": list(spec.insecure_registries), "runtimes": runtimes},
    )


def drain_reasons(plan: DockerPlan, installed: Mapping[str, Installed]) -> list[str]:
    """Why a host must be drained for its Docker Engine: another one is there, and its containers end with it."""
    engines = [name for name in ("docker.io", "docker-ce") if name in installed]
    lacking = [package for package in plan.packages if package.name in plan.held and not package.is_in(installed)]
    return [f"{engines[0]} -> {', '.join(map(str, lacking))}"] if engines and lacking else []
