"""Rollouts of three engine hosts behind two balancers, under streaming load; the engine is the stand-in.

Each test begins with a fleet that serves one release; what the test before left otherwise is put right first.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab import hosts, hub_control, standin_engine
from lab.progress import Steps
from tests.lab.conftest import Run, command
from tests.lab_rollouts.fleet import BALANCERS, DRAINED, ENGINES, Release, deploy, made, there


@dataclass
class Fleet:
    """`serves` is what every host serves; `other` is as good."""

    serves: Release
    other: Release
    folder: Path

    def swap(self) -> None:
        """An upgrade has worked: the other release is served now."""
        self.serves, self.other = self.other, self.serves

    def fresh(self, **variables: str) -> Release:
        """Like the other, and no host has ever served it: it is evaluated."""
        return self.other.env(LAB_TRY=f"{time.time():.3f}", **variables)

    def in_order(self) -> bool:
        """Whether every host serves what it should, on every balancer, and nothing is drained on purpose."""
        found = there()
        marks = [name for name in ENGINES if hosts.exec(name, f"test -e {DRAINED}", check=False).returncode == 0]
        return (
            not marks
            and all(found.serves(name, self.serves) for name in ENGINES)
            and set(found.rotation) == set(BALANCERS)
        )


@pytest.fixture(scope="session")
def up() -> None:
    """Three engines and two balancers."""
    none = ["--hopper", "0", "--blackwell", "0", "--mi300x", "0", "--mirrors", "0"]
    assert command("barewind", "lab", "up", "--engines", "3", "--balancers", "2", *none).status == 0
    standin_engine.ensure(Steps())


@pytest.fixture(scope="session")
def first(up: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Fleet, Run]:
    """Two releases, and the first deploy of one."""
    hub_control.reset()
    unmark()
    folder = tmp_path_factory.mktemp("locks")
    one, two = made("one", folder), made("two", folder)
    return Fleet(one, two, folder), deploy(one)


@pytest.fixture
def fleet(first: tuple[Fleet, Run]) -> Fleet:
    """A fleet that serves."""
    made_, first_deploy = first
    assert first_deploy.status == 0
    if not made_.in_order():
        mend(made_)
    return made_


def mend(fleet: Fleet) -> None:
    """What a user does after a failure: the next deploy of what is good."""
    unmark()
    assert deploy(fleet.serves).status == 0
    assert fleet.in_order()


def unmark() -> None:
    """Nothing is drained on purpose any more: the next deploy returns it."""
    for name in ENGINES:
        hosts.exec(name, f"rm -f {DRAINED}")
