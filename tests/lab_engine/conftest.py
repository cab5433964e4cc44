"""The real engine, end to end: vLLM's build for processors behind a balancer.

One host, or two where the tests marked `full` are run too: two engines that start at a time take two cores twice as long.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.services import hub_control
from tests.support.commands import Run, data
from tests.support.lab import LAB, Size, bring_up, servers


@pytest.fixture(scope="session")
def engines(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """The hosts of it, in the running lab."""
    shorter = "not full" in request.config.getoption("markexpr")
    names = ("engine1",) if shorter else ("engine1", "engine2")
    bring_up(Size(engines=len(names)))
    return names


@pytest.fixture(scope="session")
def first_deploy(engines: tuple[str, ...]) -> Run:
    """The first deploy of this session, on whatever the lab's hosts hold."""
    hub_control.reset()
    assert LAB.barewind("lock", "--update").status == 0
    return LAB.deploy(*data(allow_downtime=True))  # the only host may serve what another suite has left


@pytest.fixture
def fleet(first_deploy: Run, engines: tuple[str, ...]) -> tuple[str, ...]:
    """Hosts that serve."""
    assert first_deploy.status == 0
    return engines


@pytest.fixture(scope="module")
def drained(first_deploy: Run) -> Iterator[None]:
    """The first host is in maintenance; another may not be there to serve meanwhile."""
    assert first_deploy.status == 0
    limited = ("--limit", "engine1", "--limit", "lb1")
    assert LAB.pyinfra("tasks/drain.py", *limited, *data(allow_downtime=True)).status == 0
    yield
    assert LAB.pyinfra("tasks/undrain.py", *limited).status == 0
    assert servers("lb1")["engine1"].state == "UP"
