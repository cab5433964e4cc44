"""Status of the lab: every host, and whether the services answer."""

from dataclasses import asdict, dataclass, field

from lab import state, topology
from lab.images.real_engines import engine_images
from lab.machine import docker
from lab.packages import build
from lab.services import hub_control, registry


@dataclass(frozen=True)
class HostStatus:
    """Status of a host. `state`: running, stopped or missing."""

    name: str
    address: str
    role: str
    kind: str
    light: bool
    state: str


@dataclass(frozen=True)
class Status:
    """Status of the lab. `images`: references of the engines' images in its registry; `missing`: tags that it lacks."""

    engine_running: bool
    up: bool
    hosts: list[HostStatus] = field(default_factory=list)
    registry: bool = False
    hub: bool = False
    repositories: bool = False
    images: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether all hosts run, all services answer and no image is missing."""
        hosts = all(host.state == "running" for host in self.hosts)
        services = self.registry and self.hub and self.repositories and not self.missing
        return self.engine_running and self.up and hosts and services

    def as_json(self) -> dict[str, object]:
        """Values that `status --json` prints."""
        return {**asdict(self), "complete": self.complete}


def read() -> Status:
    """Status of the lab as it is now; changes nothing."""
    lab = state.load()
    if not docker.answers():
        return Status(engine_running=False, up=lab is not None)
    containers = docker.containers()
    hosts = [_host(host, containers) for host in (topology.SERVICES_HOST, *(lab or state.Lab()).hosts)]
    registry_up = registry.healthy()
    images, missing = _images(lab or state.Lab()) if registry_up else ([], [])
    return Status(True, lab is not None, hosts, registry_up, hub_control.healthy(), build.served(), images, missing)


def _images(lab: state.Lab) -> tuple[list[str], list[str]]:
    """Images that this lab's hosts need: references by digest, and tags that the registry lacks."""
    needed = [image.reference for image in engine_images(lab)] + [topology.STANDIN_IMAGE] * lab.stands_in
    images, missing = [], []
    for reference in needed:
        repository, tag = reference.removeprefix(f"{topology.REGISTRY}/").rsplit(":", 1)
        digest = registry.digest_of(tag, repository)
        if digest is None:
            missing.append(reference)
        else:
            images.append(f"{reference}@{digest}")
    return images, missing


def _host(host: topology.Host, containers: dict[str, docker.Container]) -> HostStatus:
    container = containers.get(host.container)
    state = "missing" if container is None else "running" if container.running else "stopped"
    return HostStatus(host.name, host.address, host.role, host.kind, host.light, state)
