"""Commands of `barewind` over @fake hosts, as a shell runs them: in a terminal of 60 columns, with readers that go away."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.support.fake_fleet import PYINFRA, Clone
from tests.support.fake_runs import many
from tests.support.terminal import Terminal

BAREWIND = str(PYINFRA.with_name("barewind"))


@pytest.fixture
def fleet(clone: Clone) -> Clone:
    """Thirty hosts and a balancer, whose answers to a status nobody understands."""
    clone.inventory(many(30))
    return clone


@pytest.mark.parametrize("command", [("status",), ("plan",)])
def test_sixty_columns(fleet: Clone, command: tuple[str, ...]) -> None:
    """Rows end between words; a digest, and the command to be copied, stay whole."""
    environment = fleet.environment | {"TERM": "xterm-256color"}
    with Terminal([BAREWIND, *command, "site.py"], columns=60, folder=fleet.path, environment=environment) as terminal:
        terminal.end()
        assert terminal.lines[-1]
    broken = [row for row in terminal.rows_written if len(row) > 60]
    assert [row for row in broken if "docker run" not in row and "sha256:" not in row] == []
    assert any("@fake/gpu1 to @fake/gpu30 (30 hosts)" in row for row in terminal.rows_written)


@pytest.mark.parametrize(
    ("command", "status"),
    [("status --json", 2), ("status --json --watch 0.5", 2), ("plan --json", 0), ("weights verify --json", 2)],
)
def test_the_exit_status_is_right_whoever_reads(fleet: Clone, command: str, status: int) -> None:
    """A look again and again ends when nobody reads it any more."""
    name, *options = command.split()
    words = " ".join(
        [name, *options[:1], "site.py", *options[1:]] if name == "weights" else [name, "site.py", *options]
    )
    done = subprocess.run(
        ["bash", "-c", f'"{BAREWIND}" {words} | head -1; echo "status ${{PIPESTATUS[0]}}"'],
        cwd=fleet.path,
        env=os.environ | fleet.environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=180,
    )
    assert done.stdout.splitlines()[-1] == f"status {status}"
    assert len(done.stdout.splitlines()) == 2
    assert done.stderr == ""


def test_other_letters_in_a_terminal_that_knows_ascii_alone(fleet: Clone) -> None:
    fleet.inventory(
        'engines = [("@fake/é1", {"address": "10.0.0.1", "accelerator": "h200", "accelerator_count": 8})]\n'
    )
    done = subprocess.run(
        [BAREWIND, "status", "site.py"],
        cwd=fleet.path,
        env=fleet.environment | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "UnicodeEncodeError" not in done.stderr
    assert "@fake/\\xe91" in done.stdout + done.stderr
