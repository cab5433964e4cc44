"""Rollouts of three engine hosts behind two balancers, under streaming load; the engine is the stand-in.

Each test begins with a fleet that serves one release; what the test before left otherwise is put right first.
"""

from __future__ import annotations

import pytest

from lab.images import standin_engine
from lab.progress import Steps
from lab.services import hub_control
from tests.support import releases
from tests.support.commands import Run, data
from tests.support.fleet import Fleet, end_maintenance
from tests.support.lab import Size, bring_up


@pytest.fixture(scope="session")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Fleet, Run]:
    """Two releases, and the first deploy of one."""
    bring_up(Size(engines=3, balancers=2))
    standin_engine.ensure(Steps())
    hub_control.reset()
    end_maintenance()
    folder = tmp_path_factory.mktemp("locks")
    fleet = Fleet(releases.build("one", folder), releases.build("two", folder), folder)
    # One host alone may serve what another suite has left.
    return fleet, releases.deploy(fleet.release, *data(allow_downtime=True))


@pytest.fixture(scope="session")
def deployed(first: tuple[Fleet, Run]) -> Fleet:
    """A fleet that has been deployed to."""
    fleet, first_deploy = first
    assert first_deploy.status == 0
    return fleet


@pytest.fixture
def fleet(deployed: Fleet) -> Fleet:
    """A fleet that serves."""
    if not deployed.in_order():
        deployed.repair()
    return deployed
