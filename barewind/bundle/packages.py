"""Which apt packages a site's hosts need, per kind of host and operating system."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from barewind.docker.plan import docker_plan
from barewind.drivers.model import System
from barewind.drivers.plan import driver_plan
from barewind.errors import BarewindError
from barewind.hosts.packages import Package
from barewind.mirror import plan as mirror_host
from barewind.monitoring.names import PACKAGES as MONITOR_PACKAGES
from barewind.preflight.checks import SUPPORTED_SYSTEMS
from barewind.spec.keys import EngineSpec
from barewind.spec.site import Site

BALANCER_PACKAGES = ("haproxy", "curl", "socat")  # those of tasks/balancer.py; a test compares them
_ANY_KERNEL = "$(uname -r)"

Listed = dict[str, dict[str, dict[str, Any]]]  # kind of host -> operating system -> what it needs


def listed(site: Site) -> Listed:
    """Packages with their versions ("*": whichever the repository has), and the repositories beside the distribution's own.

    Dependencies are apt's to find: `apt-get install --download-only` with these names, on a host of the kind, brings them.
    """
    kinds: Listed = {}
    for spec in site.engines.values():
        name = (
            f"engine hosts: {spec.accelerator}, {spec.accelerator_drivers} drivers, Docker of the {spec.docker_source}"
        )
        if name not in kinds:
            kinds[name] = {system: found for system in SUPPORTED_SYSTEMS if (found := _engine(spec, system))}
    if site.balancers:
        kinds["balancers"] = {system: _needs(map(Package, BALANCER_PACKAGES)) for system in SUPPORTED_SYSTEMS}
    if site.mirrors:
        kinds["mirrors"] = {system: _needs(map(Package, mirror_host.PACKAGES)) for system in SUPPORTED_SYSTEMS}
    if site.monitors:
        kinds["monitors"] = {system: _needs(map(Package, MONITOR_PACKAGES)) for system in SUPPORTED_SYSTEMS}
    return kinds


def _engine(spec: EngineSpec, system: str) -> dict[str, Any]:
    """Nothing for a system that the vendor has no packages for."""
    try:
        engine = docker_plan(spec, system)
        drivers = driver_plan(spec, System(name=system, cpu_vendor="GenuineIntel", kernel=_ANY_KERNEL))
    except (KeyError, BarewindError):
        return {}
    repositories = [file.content.strip() for file in engine.files if file.path.endswith(".list")]
    packages = list(engine.packages)
    if drivers is not None:
        packages += [*drivers.packages, *drivers.helpers]
        repositories += [f"{source.url}{source.rest}" for source in drivers.sources]
    return _needs(packages, repositories)


def _needs(packages: Iterable[Package], repositories: Iterable[str] = ()) -> dict[str, Any]:
    return {
        "packages": {package.name: package.version for package in packages},
        "repositories": list(repositories),
    }
