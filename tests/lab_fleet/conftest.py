"""A fleet of light hosts: 20 of them, or 6 where the tests marked `full` are left out. What runs cost is told at the end."""

from __future__ import annotations

import pytest

from lab import topology
from lab.services import hub_control
from tests.support import releases
from tests.support.commands import Run
from tests.support.lab import LAB, Size, bring_up
from tests.support.light_fleet import Cost, LightFleet, names
from tests.support.releases import Release

MANY, FEW = 20, 6

_costs: list[Cost] = []


@pytest.fixture(scope="session")
def lab(request: pytest.FixtureRequest) -> LightFleet:
    """Fresh hosts, and a lock file for them."""
    light = FEW if "not full" in request.config.getoption("markexpr") else MANY
    bring_up(Size(light=light), anew=[host.name for host in topology.current() if host.light])
    hub_control.reset()
    assert LAB.barewind("lock", "--update").status == 0
    return LightFleet(names(topology.current()), costs=_costs)


@pytest.fixture(scope="session")
def first_deploy(lab: LightFleet) -> Run:
    """From nothing."""
    return lab.timed("deploy from nothing", LAB.deploy)


@pytest.fixture(scope="session")
def fleet(lab: LightFleet, first_deploy: Run) -> LightFleet:
    """A fleet that serves."""
    assert first_deploy.status == 0
    return lab


@pytest.fixture(scope="session")
def release(fleet: LightFleet, tmp_path_factory: pytest.TempPathFactory) -> Release:
    """Another image, slow enough for streams of seconds; at most a tenth of the fleet is out at a time, or two hosts."""
    built = releases.build("light", tmp_path_factory.mktemp("locks"))
    return built.but(max_unavailable="10%" if len(fleet.names) >= MANY else 2)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what the runs cost."""
    for cost in _costs:
        terminalreporter.write_line(str(cost))
