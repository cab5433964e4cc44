"""End to end on real hosts: two engines and a balancer, deployed to once and shared by every test here.

The engine is the stand-in: what is in question is what happens around it (tests/lab_engine has the real one). Each test puts
right what it broke: the next one finds a fleet that serves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab import paths
from lab.images import standin_engine
from lab.progress import Steps
from lab.services import hub_control
from tests.support.commands import Run, data
from tests.support.lab import STANDIN, Size, bring_up


@pytest.fixture(scope="session")
def first_deploy() -> Run:
    """The first deploy of this session, on whatever the lab's hosts hold."""
    bring_up(Size(engines=2))
    standin_engine.ensure(Steps())
    hub_control.reset()
    assert STANDIN.barewind("lock", "--update").status == 0
    return STANDIN.deploy(*data(allow_downtime=True))


@pytest.fixture
def fleet(first_deploy: Run) -> Iterator[None]:
    """A fleet that serves; after the test it does so again, or the test failed to clean up."""
    assert first_deploy.status == 0
    yield
    hub_control.reset()


@pytest.fixture
def mended(fleet: None) -> Iterator[None]:
    """For tests that break something: a deploy afterwards must put it right."""
    yield
    hub_control.reset()
    assert STANDIN.deploy().status == 0


@pytest.fixture
def lock_copy(tmp_path: Path) -> Callable[[str, str], str]:
    """A copy of the lab's lock file with one text replaced; returns the pyinfra option that uses it."""

    def copy(old: str, new: str) -> str:
        text = (paths.home() / "standin.lock.yaml").read_text()
        assert old in text
        path = tmp_path / "lock.yaml"
        path.write_text(text.replace(old, new))
        return f"lock_file={path}"

    return copy
