"""Preflight: what a host is against what it shall be. Pure: facts in, problems out."""

from __future__ import annotations

from typing import Any

from barewind import accelerator_checks, catalog
from barewind.drivers import foreign
from barewind.plan import EnginePlan
from barewind.problem import Problem as Problem
from barewind.spec import MirrorSpec

SUPPORTED_SYSTEMS = ("debian 12", "ubuntu 22.04", "ubuntu 24.04")
_CLOCK_TOLERANCE = 30  # seconds; beyond it TLS, tokens and the order of log lines suffer
_UNPACKED = 3.0  # an image's layers compressed and unpacked at the same time, against their compressed size (inferred)
_OLDEST_DOCKER = 20  # the first major release with --pull on `docker run`, which the unit uses
_SPARE = 2 * 2**30  # bytes left free for logs and caches
_GIB = 2**30
DOCKER_DIR = "/var/lib/docker"


def check_engine(plan: EnginePlan, facts: dict[str, Any], *, now: float, ready: bool = False) -> list[Problem]:
    """Every problem of an engine host.

    + now: the controller's clock, seconds since the epoch
    + ready: whether the deploy has nothing to do for the drivers, so that what is wrong with them stays wrong
    """
    host, spec = plan.spec.host, plan.spec
    found = check_system(host, facts, now=now)
    wanted_kib = catalog.models()[spec.model].host_memory_gib * 2**20
    if facts["memory_kib"] < wanted_kib * 0.95:  # the kernel keeps a share of what is installed
        found.append(
            Problem(
                host,
                f"{facts['memory_kib'] / 2**20:.1f} GiB of memory, {spec.model} wants {wanted_kib / 2**20:.0f} GiB",
                "use a host with more memory",
            )
        )
    found += _check_disks(plan, facts)
    found += _check_port(host, "engine_port", spec.engine_port, "container", facts)
    return found + _check_runtime(host, facts["docker"]) + _check_accelerators(plan, facts, ready)


def check_balancer(host: str, port: int, facts: dict[str, Any], *, now: float) -> list[Problem]:
    """Every problem of a balancer host."""
    return check_system(host, facts, now=now) + _check_port(host, "endpoint_port", port, "haproxy", facts)


def check_mirror(spec: MirrorSpec, facts: dict[str, Any], *, now: float) -> list[Problem]:
    """Every problem of a mirror host; whether its disk can hold the images is for `barewind mirror`, which knows their layers."""
    found = check_system(spec.host, facts, now=now)
    return found + _check_port(spec.host, "mirror_port", spec.mirror_port, "docker-registry", facts)


def check_system(host: str, facts: dict[str, Any], *, now: float) -> list[Problem]:
    """What every host must have: a supported system under systemd, and the right time."""
    found = []
    if facts["os"] not in SUPPORTED_SYSTEMS:
        found.append(
            Problem(
                host,
                f"runs {facts['os'] or 'an unknown system'}",
                f"install one of: {', '.join(SUPPORTED_SYSTEMS)}",
            )
        )
    if facts["machine"] != "x86_64":
        found.append(
            Problem(
                host,
                f"machine is {facts['machine']}",
                "use an x86_64 host: the engines' images are built for it",
            )
        )
    if facts["init"] != "systemd":
        found.append(Problem(host, "is not run by systemd", "boot it with systemd: the engine is a systemd unit"))
    skew = facts["clock"] - now
    if abs(skew) > _CLOCK_TOLERANCE:
        found.append(
            Problem(
                host,
                f"clock is {abs(skew):.0f} s {'ahead' if skew > 0 else 'behind'}",
                "set up time synchronisation (apt install chrony)",
            )
        )
    return found


def _check_port(host: str, key: str, port: int, ours: str, facts: dict[str, Any]) -> list[Problem]:
    """Nothing but `ours` may listen there."""
    if facts["listener"] in (None, ours):
        return []
    return [Problem(host, f"port {port} is taken by '{facts['listener']}'", f"stop it or choose another '{key}'")]


def _check_runtime(host: str, docker: dict[str, str] | None) -> list[Problem]:
    """None is fine: it will be installed. What stands in for Docker, or is too old for it, is not."""
    if docker is None:
        return []
    if "podman" in docker["program"] or "/snap" in docker["program"]:
        return [
            Problem(
                host,
                f"'docker' is {docker['program']}, not Docker Engine of a package",
                "remove it (apt remove podman-docker, snap remove docker): the unit needs docker.service",
            )
        ]
    major = docker["version"].split(".")[0]
    if not major.isdigit() or int(major) < _OLDEST_DOCKER:
        found = docker["version"] or "unknown"
        return [Problem(host, f"Docker {found} is older than {_OLDEST_DOCKER}.10", "upgrade docker.io or docker-ce")]
    return []


def _check_disks(plan: EnginePlan, facts: dict[str, Any]) -> list[Problem]:
    """Free space per file system for what is not there yet: weights and image together where they share one."""
    spec = plan.spec
    missing = [one for one in plan.manifests if one.directory(spec.data_dir) not in facts["weights_present"]]
    needs: dict[str, list[tuple[str, float]]] = {}
    if missing:
        needs.setdefault(spec.data_dir, []).append(("weights", sum(one.size for one in missing)))
    if not facts["image_present"]:
        needs.setdefault(DOCKER_DIR, []).append(("image", plan.image_size * _UNPACKED))
    found = []
    by_mount: dict[str, list[tuple[str, float]]] = {}
    free: dict[str, int] = {}
    for path, wants in needs.items():
        disk = facts["disks"].get(path)
        if disk is None:
            found.append(Problem(spec.host, f"free space for {path} cannot be read", f"look at: df {path}"))
            continue
        by_mount.setdefault(disk["mount"], []).extend(wants)
        free[disk["mount"]] = disk["free"]
    for mount, wants in by_mount.items():
        total = sum(size for _, size in wants) + _SPARE
        if free[mount] < total:
            parts = " + ".join(f"{name} {size / _GIB:.1f}" for name, size in wants)
            found.append(
                Problem(
                    spec.host,
                    f"{mount}: {free[mount] / _GIB:.1f} GiB free, {total / _GIB:.1f} GiB wanted "
                    f"({parts} + {_SPARE / _GIB:.0f} spare)",
                    "free space, or set 'data_dir' to a larger file system",
                )
            )
    return found


def _check_accelerators(plan: EnginePlan, facts: dict[str, Any], ready: bool) -> list[Problem]:
    external = plan.spec.accelerator_drivers == "external"
    if catalog.accelerators()[plan.spec.accelerator].vendor == "none":
        return []
    found = accelerator_checks.check(plan, facts["accelerators"], ready=external or ready)
    return found + list(foreign.problems(plan.spec, facts["foreign"]))
