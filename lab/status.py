"""How the lab is: every host, and whether the services answer."""

from dataclasses import asdict, dataclass, field

from lab import docker, hub_control, registry, state, topology


@dataclass(frozen=True)
class HostStatus:
    """One host. State: running, stopped, missing."""

    name: str
    address: str
    role: str
    state: str


@dataclass(frozen=True)
class Status:
    """The whole lab. `engine` is the reference of the engine image in the lab's registry, if it is there."""

    engine_running: bool
    up: bool
    hosts: list[HostStatus] = field(default_factory=list)
    registry: bool = False
    hub: bool = False
    image: str | None = None

    @property
    def complete(self) -> bool:
        """Everything there and answering."""
        hosts = all(host.state == "running" for host in self.hosts)
        return self.engine_running and self.up and hosts and self.registry and self.hub and self.image is not None

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
    digest = registry.digest_of("nightly") if registry_up else None
    image = f"{topology.ENGINE_IMAGE}@{digest}" if digest else None
    return Status(True, lab is not None, hosts, registry_up, hub_control.healthy(), image)


def _host(host: topology.Host, found: dict[str, docker.Container]) -> HostStatus:
    container = found.get(host.container)
    state = "missing" if container is None else "running" if container.running else "stopped"
    return HostStatus(host.name, host.address, host.role, state)
