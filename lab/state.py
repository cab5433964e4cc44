"""What the lab remembers of itself between commands, under state/."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from lab import paths, topology


@dataclass(frozen=True)
class Lab:
    """The size of the running lab and the local port that lb1 is published on."""

    engines: int = topology.DEFAULT_ENGINES
    balancers: int = topology.DEFAULT_BALANCERS
    http_port: int = topology.HTTP_PORT
    hopper: int = 0
    blackwell: int = 0
    mi300x: int = 0
    mirrors: int = 0

    @property
    def hosts(self) -> tuple[topology.Host, ...]:
        """The hosts of a lab of this size, `services` apart."""
        return topology.layout(self.engines, self.balancers, self.hopper, self.blackwell, self.mi300x, self.mirrors)

    @property
    def simulated(self) -> tuple[topology.Host, ...]:
        """Those of them with simulated accelerators."""
        return tuple(host for host in self.hosts if host.kind)


def load() -> Lab | None:
    """The recorded lab, or None when the lab is down (or the record is of no use)."""
    try:
        return Lab(**json.loads((paths.state() / "lab.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None


def save(lab: Lab) -> None:
    """Record the lab."""
    write_text(paths.state() / "lab.json", json.dumps(asdict(lab)) + "\n")


def write_text(path: Path, text: str, mode: int = 0o644) -> None:
    """Write to a temporary name and rename, so that a crash never leaves half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
        file.write(text)
    partial.rename(path)
