"""End to end with a mirror: two engine hosts that pull from the fleet's own registry, and an upstream that moves and deletes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab import topology
from lab.hosts import hosts
from lab.images import standin_engine
from lab.progress import Steps
from lab.services import hub_control
from tests.support.commands import Run, data
from tests.support.lab import Size, bring_up
from tests.support.mirror import MIRROR, MirroredSite, mirrored_site, publish


@pytest.fixture(scope="session")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[MirroredSite, Run]:
    """A new mirror, filled, and the first deploy from it; one of the engine hosts is new too."""
    bring_up(Size(engines=2, mirrors=1), anew=["engine2", MIRROR])
    standin_engine.ensure(Steps())
    hub_control.reset()
    site = mirrored_site(tmp_path_factory.mktemp("site"))
    publish("0.1.0")
    assert site.barewind("lock").status == 0
    assert site.pyinfra("barewind.tasks.steps.mirror.serve", "--limit", "mirrors").status == 0
    assert site.barewind("mirror").status == 0
    return site, site.deploy(*data(allow_downtime=True))  # one host alone may serve what another suite has left


@pytest.fixture
def site(first: tuple[MirroredSite, Run]) -> MirroredSite:
    """A fleet that serves from its mirror."""
    mirrored, first_deploy = first
    assert first_deploy.status == 0
    return mirrored


@pytest.fixture
def services_back() -> Iterator[None]:
    """For tests that take upstream away."""
    yield
    hosts.exec(topology.SERVICES, "systemctl start lab-registry lab-hub")
