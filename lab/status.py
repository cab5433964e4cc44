"""How the lab is: every host, and whether the services answer."""

from dataclasses import asdict, dataclass, field

from lab import docker, hub_control, registry, state, topology
from lab.packages import build


@dataclass(frozen=True)
class HostStatus:
    """One host. State: running, stopped, missing."""

    name: str
    address: str
    role: str
    kind: str
    state: str


@dataclass(frozen=True)
class Status:
    """The whole lab. `images` are references of the engines' images in the lab's registry, `missing` tags not there."""

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
        """Everything there and answering."""
        hosts = all(host.state == "running" for host in self.hosts)
        services = self.registry and self.hub and self.repositories and not self.missing
        return self.engine_running and self.up and hosts and services

    def as_json(self) -> dict[str, object]:
        """For `status --json`."""
        return {**asdict(self), "complete": self.complete}


def look() -> Status:
    """Observe the lab; changes nothing."""
    lab = state.load()
    if not docker.answers():
        return Status(engine_running=False, up=lab is not None)
    found = docker.containers()
    hosts = [_host(host, found) for host in (topology.SERVICES_HOST, *(lab or state.Lab()).hosts)]
    registry_up = registry.healthy()
    images, missing = _images(lab or state.Lab()) if registry_up else ([], [])
    return Status(True, lab is not None, hosts, registry_up, hub_control.healthy(), build.served(), images, missing)


def _images(lab: state.Lab) -> tuple[list[str], list[str]]:
    """References by digest of the images that this lab's hosts need, and tags that are not there."""
    needed = [topology.ENGINE_IMAGE] * bool(lab.engines) + [topology.STANDIN_IMAGE] * bool(lab.simulated)
    images, missing = [], []
    for reference in needed:
        repository, tag = reference.removeprefix(f"{topology.REGISTRY}/").rsplit(":", 1)
        digest = registry.digest_of(tag, repository)
        if digest is None:
            missing.append(reference)
        else:
            images.append(f"{reference}@{digest}")
    return images, missing


def _host(host: topology.Host, found: dict[str, docker.Container]) -> HostStatus:
    container = found.get(host.container)
    state = "missing" if container is None else "running" if container.running else "stopped"
    return HostStatus(host.name, host.address, host.role, host.kind, state)
