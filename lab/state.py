"""What the lab records of itself between two commands, below state/."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from lab import paths, topology


@dataclass(frozen=True)
class Lab:
    """Size of the running lab, the local port on which lb1 is published, and the system of its hosts."""

    engines: int = topology.DEFAULT_ENGINES
    balancers: int = topology.DEFAULT_BALANCERS
    http_port: int = topology.HTTP_PORT
    hopper: int = 0
    blackwell: int = 0
    mi300x: int = 0
    mirrors: int = 0
    sglang: int = 0
    light: int = 0
    system: str = topology.SYSTEMS[0]

    @property
    def hosts(self) -> tuple[topology.Host, ...]:
        """Hosts of a lab of this size, without `services`."""
        return topology.layout(**{name: getattr(self, name) for name in topology.SIZES}, system=self.system)

    @property
    def simulated(self) -> tuple[topology.Host, ...]:
        """Hosts with simulated accelerators."""
        return tuple(host for host in self.hosts if host.kind)

    @property
    def stands_in(self) -> bool:
        """Whether hosts run the stand-in engine."""
        return bool(self.simulated) or self.light > 0


def load() -> Lab | None:
    """The recorded lab; None when the lab is down or the record cannot be read."""
    try:
        return Lab(**json.loads((paths.state() / "lab.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None


def save(lab: Lab) -> None:
    """Record the lab."""
    write_text(paths.state() / "lab.json", json.dumps(asdict(lab)) + "\n")


def write_text(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a file under a temporary name and rename it, so that a crash leaves no half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
        file.write(text)
    partial.rename(path)
