"""Preflight: the problems of a host, found by its facts before anything is changed."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from barewind import catalog
from barewind.balancer import certificate
from barewind.catalog.docker import docker
from barewind.docker.daemon import DockerDaemon, image_directory
from barewind.drivers import checks, foreign
from barewind.drivers.model import System
from barewind.drivers.plan import unpublished
from barewind.hosts.packages import upstream
from barewind.hosts.problem import Problem as Problem
from barewind.plan.engine import EnginePlan
from barewind.plan.names import engine_names
from barewind.release.unit import FIRST_CLOSED, open_ports
from barewind.spec.keys import BalancerSpec, EngineSpec, MirrorSpec
from barewind.spec.monitor import MonitorSpec
from barewind.spec.site import numbers
from barewind.versions import older

SUPPORTED_SYSTEMS = ("debian 12", "debian 13", "ubuntu 22.04", "ubuntu 24.04", "ubuntu 26.04")
CLOCK_TOLERANCE = 30  # seconds; beyond it TLS, tokens and the order of log lines suffer
_UNPACKED = (
    3.0  # room for an image's layers, compressed and unpacked, as a multiple of their compressed size (inferred)
)
_CONTAINERD_STORE = "29"  # the first Docker Engine that keeps images with containerd where it is installed anew
_ZSTD = "23.0"  # the first Docker Engine that unpacks layers of zstd (its release notes)
_OLDEST_HAPROXY = "2.6"
_HAPROXY_OF = {"ubuntu 22.04": "2.4"}  # systems whose own is older
_OLDEST_DOCKER = 20  # the first major release with --pull on `docker run`, which the unit uses
_SPARE = 2 * 2**30  # bytes left free for logs and caches
_GIB = 2**30


def check_engine(plan: EnginePlan, facts: dict[str, Any], *, now: float, ready: bool = False) -> list[Problem]:
    """Every problem of an engine host; `plan` is what its engines have in common.

    + now: the controller's clock, seconds since the epoch
    + ready: whether the deploy has nothing to do for the drivers, so that what is wrong with them stays wrong
    """
    host, spec = plan.spec.host, plan.spec
    problems = check_system(host, facts, now=now)
    wanted_kib = catalog.models()[spec.model].host_memory_gib * 2**20
    if facts["memory_kib"] < wanted_kib * 0.95:  # the kernel keeps a share of what is installed
        problems.append(
            Problem(
                host,
                f"{facts['memory_kib'] / 2**20:.1f} GiB of memory, {spec.model} wants {wanted_kib / 2**20:.0f} GiB",
                "use a host with more memory",
            )
        )
    problems += _check_disks(plan, facts) + _check_layers(plan, facts)
    if renumbered(plan.spec, facts["engine_units"]):
        problems += _check_renumbered(plan, facts)
    else:
        for place, engine in enumerate(facts["engines"]):
            problems += _check_port(host, "engine_port", plan.first_port + place, "container", engine["listener"])
    problems += _check_docker(host, facts["docker"]) + _check_users(host, facts["docker_daemon"])
    return problems + _check_accelerators(plan, facts, ready)


def renumbered(spec: EngineSpec, units: Collection[str]) -> bool:
    """Whether a host that has had engines shall have another number of them; `units` are those that it has."""
    return bool(units) and set(units) != {engine_names(number).unit for number in numbers(spec)}


def _check_renumbered(plan: EnginePlan, facts: dict[str, Any]) -> list[Problem]:
    """The problem of a host whose engines are exchanged for another number of them while balancers send it requests: their
    servers have other names, so that nothing could drain those that leave."""
    if facts["drained"] is not None:
        return []
    host, units = plan.spec.host, facts["engine_units"]
    return [
        Problem(
            host,
            f"engines on it: {len(units)}, and shall be {plan.spec.replicas} ('replicas'): {', '.join(units)} would leave",
            f"with the former 'replicas': tasks/drain.py --limit {host}; then deploy this, and tasks/undrain.py --limit {host}",
        )
    ]


def closed_services(plan: EnginePlan, facts: dict[str, Any], ssh_ports: Collection[int]) -> list[str]:
    """What listens on an engine host for others, and is closed to them by the host's packet filter: it is said, not refused."""
    opened = [span.partition("-") for span in open_ports(plan.spec, ssh_ports)]
    return [
        f"port {port} ({name}) is closed to other hosts; if they need it: open_ports = [{port}]"
        for port, name in sorted(facts["services"].items())
        if port >= FIRST_CLOSED
        and not plan.first_port <= port < plan.first_port + plan.spec.replicas
        and not any(int(first) <= port <= int(last or first) for first, _, last in opened)
    ]


def check_balancer(spec: BalancerSpec, facts: dict[str, Any], *, now: float) -> list[Problem]:
    """Every problem of a balancer host, and of the certificate that it shall show."""
    problems = check_system(spec.host, facts, now=now)
    problems += _check_port(spec.host, "endpoint_port", spec.endpoint_port, "haproxy", facts["listener"])
    problems += _check_haproxy(spec.host, facts)
    for problem in certificate.problems(spec):
        finding, _, remedy = problem.rpartition("; ")
        problems.append(Problem(spec.host, finding, remedy))
    return problems


def _check_haproxy(host: str, facts: dict[str, Any]) -> list[Problem]:
    """The problem of a HAProxy that does not know what our configuration says. Where none is to be seen, the system tells."""
    version = facts["haproxy"] or _HAPROXY_OF.get(facts["os"] or "")
    if version is None or not older(version, _OLDEST_HAPROXY):
        return []
    return [
        Problem(
            host,
            f"HAProxy {version} is older than {_OLDEST_HAPROXY}",
            "balance on Debian 12, Ubuntu 24.04 or newer; or have a newer one on Ubuntu 22.04 first: "
            "add-apt-repository ppa:vbernat/haproxy-2.8 && apt install haproxy=2.8.*",
        )
    ]


def check_mirror(spec: MirrorSpec, facts: dict[str, Any], *, now: float) -> list[Problem]:
    """Every problem of a mirror host; whether its disk can hold the images is for `barewind mirror`, which knows their layers."""
    problems = check_system(spec.host, facts, now=now)
    return problems + _check_port(spec.host, "mirror_port", spec.mirror_port, "docker-registry", facts["listener"])


def check_monitor(spec: MonitorSpec, needed: int, facts: dict[str, Any], *, now: float) -> list[Problem]:
    """Every problem of a monitor host; `needed` is what its retention takes, in bytes."""
    host = spec.host
    problems = check_system(host, facts, now=now)
    problems += _check_port(host, "monitor_port", spec.monitor_port, "prometheus", facts["listener"])
    disk = facts["disks"].get(spec.monitor_dir)
    if disk is None:
        problems.append(Problem(host, f"free space for {spec.monitor_dir} cannot be read", f"df {spec.monitor_dir}"))
    elif facts["listener"] is None and disk["free"] < needed:  # one that runs has begun to fill it
        problems.append(
            Problem(
                host,
                f"{disk['mount']}: {disk['free'] / _GIB:.1f} GiB free, {needed / _GIB:.1f} GiB wanted for "
                f"{spec.monitor_retention_days} days of figures",
                "free space, a larger file system as 'monitor_dir', fewer 'monitor_retention_days', or 'monitor_retention_gb'",
            )
        )
    return problems


def check_system(host: str, facts: dict[str, Any], *, now: float) -> list[Problem]:
    """Problems with what every host must have: a supported system under systemd, and the right time."""
    problems = []
    if facts["os"] not in SUPPORTED_SYSTEMS:
        problems.append(
            Problem(
                host,
                f"runs {facts['os'] or 'an unknown system'}",
                f"install one of: {', '.join(SUPPORTED_SYSTEMS)}",
            )
        )
    if facts["machine"] != "x86_64":
        problems.append(
            Problem(
                host,
                f"machine is {facts['machine']}",
                "use an x86_64 host: the engines' images are built for it",
            )
        )
    if facts["init"] != "systemd":
        problems.append(Problem(host, "is not run by systemd", "boot it with systemd: the engine is a systemd unit"))
    skew = facts["clock"] - now
    if abs(skew) > CLOCK_TOLERANCE:
        problems.append(
            Problem(
                host,
                f"clock is {abs(skew):.0f} s {'ahead' if skew > 0 else 'behind'}",
                "set up time synchronisation (apt install chrony)",
            )
        )
    return problems


def _check_port(host: str, key: str, port: int, ours: str, listener: str | None) -> list[Problem]:
    """The problem where another process than `ours` listens on a port."""
    if listener in (None, ours):
        return []
    return [Problem(host, f"port {port} is taken by '{listener}'", f"stop it or choose another '{key}'")]


def _check_docker(host: str, docker: dict[str, str] | None) -> list[Problem]:
    """Problems with the `docker` command that a host has: no Docker Engine, or too old. Without one, Docker is installed."""
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
        version = docker["version"] or "unknown"
        return [Problem(host, f"Docker {version} is older than {_OLDEST_DOCKER}.10", "upgrade docker.io or docker-ce")]
    return []


def _coming_docker(plan: EnginePlan, facts: dict[str, Any]) -> str | None:
    """The version of Docker Engine that a deploy installs on a host without one, or a lower one; None: not known."""
    if plan.spec.docker_source == "vendor":
        return plan.spec.docker_version or _CONTAINERD_STORE
    release = docker().systems.get(facts["os"])
    return release.packaged if release else None


def _check_layers(plan: EnginePlan, facts: dict[str, Any]) -> list[Problem]:
    """The problem of an image whose layers the host's Docker cannot unpack: it would fail after the whole download."""
    if facts["image_present"] or not plan.zstd or plan.spec.docker_source == "vendor":
        return []
    installed = facts["packages"].get("docker.io")
    version = upstream(installed["version"]) if installed else _coming_docker(plan, facts)
    if version is None or not older(version, _ZSTD):
        return []
    return [
        Problem(
            plan.spec.host,
            f"the image's layers are compressed with zstd, which the distribution's Docker {version} cannot unpack",
            'set docker_source = "vendor"',
        )
    ]


def _check_users(host: str, daemon: DockerDaemon) -> list[Problem]:
    """Problems with whose users those of containers are: an engine's must be the host's own to read weights and use devices."""
    if daemon["rootless"]:
        return [
            Problem(
                host,
                "Docker runs rootless: its containers get neither the host's network nor its accelerators as the unit wants them",
                "install Docker Engine as root's daemon (docker.service), or leave that to the deploy: remove the rootless one",
            )
        ]
    if daemon["remapped"]:
        return [
            Problem(
                host,
                "Docker maps containers' users to others of the host (userns-remap): an engine could not read its weights",
                "take userns-remap out of /etc/docker/daemon.json; systemctl restart docker. What was pulled and what runs under "
                "the mapping is not seen without it",
            )
        ]
    return []


def _check_disks(plan: EnginePlan, facts: dict[str, Any]) -> list[Problem]:
    """Problems with the free space for what is not there yet: weights and image together where they share a file system."""
    spec = plan.spec
    missing = [
        manifest for manifest in plan.manifests if manifest.directory(spec.data_dir) not in facts["weights_present"]
    ]
    needs: dict[str, list[tuple[str, float]]] = {}
    if missing:
        needs.setdefault(spec.data_dir, []).append(("weights", sum(manifest.size for manifest in missing)))
    if not facts["image_present"]:
        coming = _coming_docker(plan, facts)
        newest = facts["docker"] is None and coming is not None and not older(coming, _CONTAINERD_STORE)
        directory = image_directory(facts["docker_daemon"], newest=newest)
        needs.setdefault(directory, []).append(("image", plan.image_size * _UNPACKED))
    problems = []
    by_mount: dict[str, list[tuple[str, float]]] = {}
    free: dict[str, int] = {}
    for path, wants in needs.items():
        disk = facts["disks"].get(path)
        if disk is None:
            problems.append(Problem(spec.host, f"free space for {path} cannot be read", f"look at: df {path}"))
            continue
        by_mount.setdefault(disk["mount"], []).extend(wants)
        free[disk["mount"]] = disk["free"]
    for mount, wants in by_mount.items():
        total = sum(size for _, size in wants) + _SPARE
        if free[mount] < total:
            parts = " + ".join(f"{name} {size / _GIB:.1f}" for name, size in wants)
            problems.append(
                Problem(
                    spec.host,
                    f"{mount}: {free[mount] / _GIB:.1f} GiB free, {total / _GIB:.1f} GiB wanted "
                    f"({parts} + {_SPARE / _GIB:.0f} spare)",
                    "free space, or set 'data_dir' to a larger file system",
                )
            )
    return problems


def _check_accelerators(plan: EnginePlan, facts: dict[str, Any], ready: bool) -> list[Problem]:
    external = plan.spec.accelerator_drivers == "external"
    if catalog.accelerators()[plan.spec.accelerator].is_cpu:
        return []
    kernel = facts["accelerators"]["kernel"]
    system = System(name=facts["os"] or "", cpu_vendor=kernel["cpu_vendor"], kernel=kernel["running"])
    problems = checks.check(plan, facts["accelerators"], ready=external or ready)
    if facts["os"] in SUPPORTED_SYSTEMS:
        problems += [Problem(plan.spec.host, *finding) for finding in unpublished(plan.spec, system)]
    return problems + list(foreign.problems(plan.spec, facts["foreign"]))
