"""The lock of the fleet in a run of the pyinfra command."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.unit.fake_fleet import Clone, balancer, engine, responses

STEP = """from pyinfra.operations import server
from tasks import fleet_lock
fleet_lock.take()
server.shell(name="Something", commands=["true"])
"""


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    made = Clone(tmp_path)
    (tmp_path / "step.py").write_text(STEP)
    return made


def actions(stderr: str) -> list[str]:
    """What was done about the lock, and the step, in order."""
    return ["".join(one) for one in re.findall(r"simulating.*?lock_action=(\w+)|Starting operation: (\w+)", stderr)]


def test_a_run_takes_it_first_and_gives_it_back_last(clone: Clone) -> None:
    clone.inventory(engines=[engine(1), engine(2)], balancers=[balancer()])
    done = clone.pyinfra("site.py", "step.py", "-y", "--debug", "--limit", "@fake/gpu1")
    assert done.returncode == 0, done.stderr
    assert actions(done.stderr) == ["take", "take", "Something", "give_back", "give_back"]
    assert "[@fake/gpu2]" not in done.stderr


def test_a_run_that_fails_gives_it_back_too(clone: Clone) -> None:
    failing = responses() | {"true": {"success": False, "stderr": "broken"}}
    clone.inventory(engines=[engine(1, failing)], balancers=[balancer()])
    done = clone.pyinfra("site.py", "step.py", "-y", "--debug")
    assert done.returncode != 0
    assert actions(done.stderr)[-2:] == ["give_back", "give_back"]


def test_a_run_that_changes_nothing_takes_none(clone: Clone) -> None:
    clone.inventory(engines=[engine(1)], balancers=[balancer()])
    assert actions(clone.pyinfra("site.py", "step.py", "--debug", "--dry").stderr) == []


def test_a_second_run_is_refused_before_anything_happens(clone: Clone) -> None:
    held = f"@@lock held 12 {ANN_JSON}"
    name, data = balancer()
    data["fake_responses"] |= {"lock_action=take": [held]}
    clone.inventory(engines=[engine(1)], balancers=[(name, data)])
    done = clone.pyinfra("site.py", "step.py", "-y")
    assert done.returncode != 0
    assert "nothing was changed" in done.stderr
    assert "another run has the lock of the fleet: ann@ws1 since 2026-11-22T09:00:00Z" in done.stderr
    assert "Starting operation" not in done.stderr
    assert "Traceback" not in done.stderr


ANN_JSON = (
    '{"since": "2026-11-22T09:00:00Z", "token": "a", "by": "ann@ws1", "why": null, "command": "pyinfra", "pid": 1, '
    '"process": "1", "machine": "ws1/boot/pid:[1]"}'
)
