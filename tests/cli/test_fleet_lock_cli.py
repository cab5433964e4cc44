"""The lock of the fleet in a run of the pyinfra command."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.cli.test_rollout_cli import GPUS, up, upgrading
from tests.cli.test_rollout_tasks import history, rows
from tests.unit.fake_fleet import Clone, balancer, engine, responses
from tests.unit.test_going_back import A

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


# The last thing that is asked for at the end is done first: the lock has not been looked at since the run began.
SLEPT = """from barewind import pyinfra_hooks
from barewind.operations import fleet_lock
pyinfra_hooks.at_end(lambda error: setattr(fleet_lock, "_FRESH", -1))
"""


@pytest.mark.parametrize("renewal", ["kept 1/2", "held"])
def test_a_run_that_fails_after_it_was_taken_over_does_nothing_more(clone: Clone, renewal: str) -> None:
    (clone.path / "slept.py").write_text(SLEPT)
    name, data = up(*GPUS[:2])
    data["fake_responses"]["lock_action=renew"] = [
        f"@@lock held 3 {ANN_JSON}" if renewal == "held" else "@@lock kept 1/2"
    ]
    failing = upgrading(1, history(A, A, fails=True), on_failure="rollback")
    clone.inventory(engines=[failing, upgrading(2, history(A, A))], balancers=[(name, data)])
    done = clone.pyinfra("site.py", "deploy.py", "slept.py", "-y", "--debug")
    assert done.returncode == 1
    lost = (
        "the lock of the fleet is lost: @fake/lb1: it was taken over: ann@ws1 since 2026-11-22T09:00:00Z" in done.stderr
    )
    assert lost is (renewal == "held")
    after = done.stderr.partition("does not pass its gate: ")[2]
    assert ("state drain" in after) is not lost
    assert rows(done.stderr)[GPUS[0]][-1] == ("failed" if lost else f"failed, back to {A}")


ANN_JSON = (
    '{"since": "2026-11-22T09:00:00Z", "token": "a", "by": "ann@ws1", "why": null, "command": "pyinfra", "pid": 1, '
    '"process": "1", "machine": "ws1/boot/pid:[1]"}'
)
