"""The real SGLang on lab hosts, behind a balancer."""

from __future__ import annotations

import pytest

from lab.services import hub_control
from tests.support.lab import LAB, Size, bring_up
from tests.support.sglang import FirstDeploy


@pytest.fixture(scope="session")
def first_deploy() -> FirstDeploy:
    """One host that knows nothing yet."""
    bring_up(Size(engines=0, sglang=1), anew=["sglang1"])
    hub_control.reset()
    assert LAB.barewind("lock", "--update").status == 0
    run = LAB.deploy()
    asked = [
        request.path for request in hub_control.requests() if request.method == "GET" and "/resolve/" in request.path
    ]
    return FirstDeploy(run, {path.rpartition("/")[2] for path in asked})


@pytest.fixture
def served(first_deploy: FirstDeploy) -> None:
    """A host that serves."""
    assert first_deploy.run.status == 0


@pytest.fixture(scope="session")
def fleet(first_deploy: FirstDeploy) -> tuple[str, ...]:
    """Two hosts that serve."""
    assert first_deploy.run.status == 0
    bring_up(Size(engines=0, sglang=2))
    assert LAB.deploy().status == 0
    return ("sglang1", "sglang2")
