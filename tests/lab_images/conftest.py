"""End to end with a mirror: two engine hosts that pull from the fleet's own registry, and an upstream that moves and deletes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab import hosts, hub_control, registry, standin_engine, topology
from lab.progress import Steps
from tests.lab.conftest import INVENTORY, Run, command

ENGINES = ("engine1", "engine2")
MIRROR = "mirror1"
TAG = "moving"  # upstream's tag, which stands for another image now and then
IMAGE = f"{topology.REGISTRY}/{standin_engine.REPOSITORY}:{TAG}"
STORE = "/var/lib/docker-registry"


@pytest.fixture(scope="session")
def up() -> None:
    """Two engines, one of them new, and a new mirror."""
    none = ["--hopper", "0", "--blackwell", "0", "--mi300x", "0"]
    command("barewind", "lab", "up", "--engines", "1", "--balancers", "1", *none, "--mirrors", "0")
    assert command("barewind", "lab", "up", "--engines", "2", *none, "--mirrors", "1").status == 0
    standin_engine.ensure(Steps())


@dataclass(frozen=True)
class Site:
    """The lab with an image of its own tag and a lock file of its own."""

    lock_file: Path

    @property
    def options(self) -> tuple[str, ...]:
        """What makes the lab this site."""
        return "--data", f"image={IMAGE}", "--data", f"lock_file={self.lock_file}"

    def barewind(self, *words: str) -> Run:
        """One of the subcommands that take an inventory."""
        return command("barewind", *words, INVENTORY, *self.options)

    def deploy(self, *options: str) -> Run:
        """What a user runs."""
        return command("pyinfra", INVENTORY, "deploy.py", "-y", *self.options, *options)


@pytest.fixture(scope="session")
def first(up: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Site, Run]:
    """A mirror, filled, and the first deploy from it."""
    hub_control.reset()
    site = Site(tmp_path_factory.mktemp("site") / "barewind.lock.yaml")
    release("0.1.0")
    assert site.barewind("lock").status == 0
    assert command("pyinfra", INVENTORY, "tasks.mirror.serve", "-y", "--limit", "mirrors", *site.options).status == 0
    assert site.barewind("mirror").status == 0
    return site, site.deploy()


@pytest.fixture
def site(first: tuple[Site, Run]) -> Site:
    """A fleet that serves from its mirror."""
    made, run = first
    assert run.status == 0
    return made


@pytest.fixture
def services_back() -> Iterator[None]:
    """For tests that take upstream away."""
    yield
    hosts.exec(topology.SERVICES, "systemctl start lab-registry lab-hub")


def release(version: str) -> str:
    """Upstream builds another image under the same tag; its digest."""
    return standin_engine.variant(TAG, version=version, env=["STANDIN_ACCELERATORS=none"])


def upstream() -> str | None:
    """What upstream's tag stands for."""
    return registry.digest_of(TAG, standin_engine.REPOSITORY)


def serves(name: str) -> str:
    """The digest that a host's engine runs."""
    image = hosts.exec(name, "docker inspect -f '{{.Config.Image}}' barewind-engine").stdout.strip()
    assert image.startswith(f"{topology.find(MIRROR).address}:{topology.MIRROR_PORT}/")
    return image.partition("@")[2]


def without_image(name: str) -> None:
    """As a new host: its engine stopped, no image of it there."""
    hosts.exec(
        name, "systemctl stop barewind-engine; docker image rm -f $(docker image ls -q) >/dev/null; docker image ls -q"
    )
