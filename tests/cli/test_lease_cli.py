"""The lease of a fleet in a run of the pyinfra command."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.fake_fleet import LEASE, Clone, balancer, engine, responses
from tests.support.fake_runs import GPUS, history, rows, up, upgrading
from tests.support.histories import A

STEP = """from pyinfra.operations import server
from barewind.tasks.steps import lease
lease.take()
server.shell(name="Something", commands=["true"])
"""


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    made = Clone(tmp_path)
    (tmp_path / "step.py").write_text(STEP)
    return made


def actions(stderr: str) -> list[str]:
    """What was done about the lease, and the step, in order."""
    commands = "|".join(f"(?P<{name}>{re.escape(part)})" for name, part in LEASE.items())
    found = re.finditer(rf"{commands}|Starting operation: (?P<step>\w+)", stderr)
    return [one["step"] or str(one.lastgroup) for one in found]


def test_a_run_takes_it_first_and_gives_it_back_last(clone: Clone) -> None:
    clone.inventory(engines=[engine(1), engine(2)], balancers=[balancer()])
    done = clone.pyinfra("site.py", "step.py", "-y", "--debug", "--limit", "@fake/gpu1")
    assert done.returncode == 0, done.stderr
    assert actions(done.stderr) == ["take", "take", "Something", "release", "release"]
    assert "[@fake/gpu2]" not in done.stderr


def test_a_run_that_fails_gives_it_back_too(clone: Clone) -> None:
    failing = responses() | {"true": {"success": False, "stderr": "broken"}}
    clone.inventory(engines=[engine(1, failing)], balancers=[balancer()])
    done = clone.pyinfra("site.py", "step.py", "-y", "--debug")
    assert done.returncode != 0
    assert actions(done.stderr)[-2:] == ["release", "release"]


def test_a_run_that_changes_nothing_takes_none(clone: Clone) -> None:
    clone.inventory(engines=[engine(1)], balancers=[balancer()])
    assert actions(clone.pyinfra("site.py", "step.py", "--debug", "--dry").stderr) == []


def test_a_second_run_is_refused_before_anything_happens(clone: Clone) -> None:
    held = f"@@lease held 12 {ANN_JSON}"
    name, data = balancer()
    data["fake_responses"] |= {LEASE["take"]: [held]}
    clone.inventory(engines=[engine(1)], balancers=[(name, data)])
    done = clone.pyinfra("site.py", "step.py", "-y")
    assert done.returncode != 0
    assert "nothing was changed" in done.stderr
    assert "another run holds the lease: ann@ws1 since 2026-11-22T09:00:00Z" in done.stderr
    assert "Starting operation" not in done.stderr
    assert "Traceback" not in done.stderr


# The last thing that is asked for at the end is done first: the lease has not been looked at since the run began.
SLEPT = """from barewind import pyinfra_hooks
from barewind.lease import operations
pyinfra_hooks.at_end(lambda error: setattr(operations, "_FRESH", -1))
"""


@pytest.mark.parametrize("renewal", ["kept 1/2", "held"])
def test_a_run_that_fails_after_it_was_taken_over_does_nothing_more(clone: Clone, renewal: str) -> None:
    (clone.path / "slept.py").write_text(SLEPT)
    name, data = up(*GPUS[:2])
    data["fake_responses"][LEASE["renew"]] = [f"@@lease held 3 {ANN_JSON}" if renewal == "held" else "@@lease kept 1/2"]
    failing = upgrading(1, history(A, A, fails=True), on_failure="rollback")
    clone.inventory(engines=[failing, upgrading(2, history(A, A))], balancers=[(name, data)])
    done = clone.pyinfra("site.py", "deploy.py", "slept.py", "-y", "--debug")
    assert done.returncode == 1
    lost = "the lease is lost: @fake/lb1: it was taken over: ann@ws1 since 2026-11-22T09:00:00Z" in done.stderr
    assert lost is (renewal == "held")
    after = done.stderr.partition("does not pass its gate: ")[2]
    assert ("state drain" in after) is not lost
    assert rows(done.stderr)[GPUS[0]][-1] == ("failed" if lost else f"failed, rolled back to {A}")


ANN_JSON = (
    '{"since": "2026-11-22T09:00:00Z", "token": "a", "by": "ann@ws1", "why": null, "command": "pyinfra", "pid": 1, '
    '"process": "1", "machine": "ws1/boot/pid:[1]"}'
)
