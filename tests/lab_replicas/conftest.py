"""A single host with eight simulated accelerators, which goes from one engine to four; the engine is the stand-in."""

from __future__ import annotations

import pytest

from lab.hosts import hosts
from lab.images import standin_engine
from lab.progress import Steps
from lab.services import hub_control
from tests.support.commands import Run, data
from tests.support.lab import LAB, Size, bring_up
from tests.support.releases import Release
from tests.support.replicas import HOST, build
from tests.support.simulated import NEW


@pytest.fixture(scope="session")
def first_deploy() -> Run:
    """One engine, over all accelerators of the host."""
    bring_up(Size(hopper=1))
    if hosts.exec(HOST, "ls /etc/systemd/system/barewind-engine@*", check=False).returncode == 0:
        bring_up(Size(hopper=1), anew=[HOST])  # this suite has been here
    hub_control.reset()
    standin_engine.ensure(Steps())
    assert LAB.barewind("lock", "--update").status == 0
    return LAB.deploy(*data(nvidia_driver=NEW, allow_downtime=True))  # it may serve what another suite has left


@pytest.fixture(scope="session")
def release(first_deploy: Run, tmp_path_factory: pytest.TempPathFactory) -> Release:
    """Four engines of two accelerators."""
    assert first_deploy.status == 0
    return build("four", tmp_path_factory.mktemp("locks"))


@pytest.fixture(scope="session")
def other(release: Release, tmp_path_factory: pytest.TempPathFactory) -> Release:
    """The same with another image."""
    return build("other", tmp_path_factory.mktemp("locks"))
