"""End to end on hosts with simulated accelerators: a group of two so that one serves while the other is changed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.hosts import hardware_control
from lab.services import hub_control
from tests.support.commands import Run
from tests.support.lab import LAB, Size, bring_up
from tests.support.simulated import NEW, OLD, SIMULATED


@pytest.fixture(scope="session")
def first_deploy() -> Run:
    """From stock servers to a fleet that serves, with the older driver."""
    bring_up(Size(hopper=2, blackwell=1, mi300x=1), anew=SIMULATED)
    hub_control.reset()
    assert LAB.barewind("lock", "--update").status == 0
    return LAB.deploy("--data", f"nvidia_driver={OLD}")


@pytest.fixture
def fleet(first_deploy: Run) -> None:
    """A fleet that serves."""
    assert first_deploy.status == 0


@pytest.fixture
def mended(fleet: None) -> Iterator[None]:
    """For tests that break something: afterwards every host is on, in order, and serves again."""
    yield
    for name in SIMULATED:
        hardware_control.reset(name)
    assert LAB.deploy("--data", f"nvidia_driver={NEW}").status == 0
