"""What a person sees of a run in a terminal: the live view, narrow windows, questions, Ctrl-C, and what is not for people."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

import pytest

from tests.support.fake_fleet import PYINFRA, Clone, gate, rotation, serving
from tests.support.fake_runs import GPUS, up, upgrading
from tests.support.terminal import Terminal

DEPLOY = ("site.py", "deploy.py", "-y")


def run(clone: Clone, words: Sequence[str] = DEPLOY, *, columns: int = 60, **environment: str) -> Terminal:
    every = {"TERM": "xterm-256color", "PYINFRA_FAKE_DELAY": "0.02"} | environment
    return Terminal([str(PYINFRA), *words], columns=columns, folder=clone.path, environment=clone.environment | every)


@pytest.fixture
def upgrade(clone: Clone) -> Clone:
    """Three hosts that are upgraded, one after the other."""
    clone.inventory(engines=[upgrading(1), upgrading(2), upgrading(3)], balancers=[up(*GPUS)])
    return clone


@pytest.fixture
def draining(clone: Clone) -> Clone:
    """The first host drains: three requests are in flight on it, and never end."""
    name, data = up(*GPUS)
    data["fake_responses"]["state drain"] = rotation("drain", *GPUS, requests=3)
    clone.inventory(engines=[upgrading(n, drain_timeout=100) for n in (1, 2, 3)], balancers=[(name, data)])
    return clone


IN_FLIGHT = "3 requests in flight"


def test_sixty_columns_are_enough(upgrade: Clone) -> None:
    """No row is broken by the terminal, and nothing of the live view is left among the lines."""
    with run(upgrade) as terminal:
        assert terminal.end() == 0
        assert terminal.restored
        lines = terminal.lines
    assert "batch 2 of 3  " in terminal.plain  # the live view
    assert [row for row in terminal.rows_written if len(row) > 60 and "@sha256:" not in row] == []
    assert not [line for line in lines if line.startswith("batch 2 of 3  ")]
    text = " ".join(" ".join(lines).split())
    assert "[@fake/gpu3] Success: Rotation | drain; Docker | Engine; History | On record; Engine | Unit; " in text
    assert "Engine | Unit: 3 changed" in text
    assert lines[-1] == "--> Disconnecting from hosts..."


def test_a_window_changes_its_size_meanwhile(draining: Clone) -> None:
    with run(draining, columns=100) as terminal:
        terminal.wait_to_show(IN_FLIGHT)
        before = [line for line in terminal.lines if line.startswith("-->")]
        for columns in (60, 45, 120):
            terminal.resize(columns)
            terminal.wait_for_rows(9, columns - 1)
        lines = terminal.lines
        assert sum("batch 1 of 3  " in line for line in lines) == 1
        assert [line[:45].rstrip() for line in before] == [line for line in lines if line.startswith("-->")]


def test_ctrl_c_with_the_live_view_on(draining: Clone) -> None:
    with run(draining) as terminal:
        terminal.wait_to_show(IN_FLIGHT)
        terminal.interrupt()
        assert terminal.end() == 130
        assert terminal.restored
        assert terminal.cursor_shown
        text = " ".join(" ".join(terminal.lines).split())
    assert "What is where" in text
    assert "Traceback" not in text
    assert not any(line.startswith("batch 1 of 3  ") for line in terminal.lines)


CTRL_C_WHILE_DRAWING = """
import os, signal
from barewind.output.live import LiveView
text = LiveView._text
def interrupted(title, rest):
    if "in flight" in rest:
        LiveView._text = staticmethod(text)
        os.kill(os.getpid(), signal.SIGINT)
    return text(title, rest)
LiveView._text = staticmethod(interrupted)
"""


def test_ctrl_c_in_the_middle_of_a_drawing(draining: Clone) -> None:
    config = draining.path / "config.py"
    config.write_text(config.read_text() + CTRL_C_WHILE_DRAWING)
    with run(draining) as terminal:
        assert terminal.end() == 130
        assert "What is where" in "\n".join(terminal.lines)
        assert not any(line.startswith("batch 1 of 3  ") for line in terminal.lines)
        assert "is done" not in "\n".join(terminal.lines)


@pytest.mark.parametrize(("answer", "changed"), [("", True), ("n", False)])
def test_nothing_is_drawn_over_a_question(upgrade: Clone, answer: str, changed: bool) -> None:
    """It takes the return key alone for a yes."""
    with run(upgrade, ("site.py", "deploy.py")) as terminal:
        terminal.wait_to_show("Press enter to execute...")
        shown = terminal.lines
        terminal.type(f"{answer}\n")
        assert terminal.end() == 0
        assert terminal.lines[: len(shown) - 2] == shown[:-2]
        assert any("Success" in line for line in terminal.lines) is changed
        assert terminal.restored
    assert "    Rotation | drain: 3 hosts: @fake/gpu1, @fake/gpu2," in shown


ASCII = ({"LC_ALL": "C"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, {"PYTHONIOENCODING": "ascii"})


@pytest.mark.parametrize("environment", ASCII)
def test_a_terminal_that_knows_ascii_alone(clone: Clone, environment: dict[str, str]) -> None:
    """The engine's log has other letters, and so has the table at the end."""
    broken = serving() | {"journalctl -u barewind-engine": gate("Speicher ist voll für 3 Blöcke …", state="failed")}
    clone.inventory(engines=[upgrading(1, broken), upgrading(2)], balancers=[up(*GPUS[:2])])
    with run(clone, **environment) as terminal:
        assert terminal.end() == 1
        text = " ".join(" ".join(terminal.lines).split())
    assert "Speicher ist voll" in text
    assert "does not pass its gate" in text
    assert "What is where" in text
    assert "UnicodeEncodeError" not in text
    assert "not whole" not in text


@pytest.mark.parametrize(
    "words", [(*DEPLOY, "-v"), (*DEPLOY, "--debug"), (*DEPLOY, "--json"), (*DEPLOY, "--debug-operations")]
)
def test_what_is_not_for_people_is_whole_in_a_terminal(upgrade: Clone, words: tuple[str, ...]) -> None:
    with run(upgrade, words, columns=200, PYINFRA_PROGRESS="off") as terminal:
        assert terminal.end() == 0
        text = terminal.plain
    assert "batch 1 of 3  " not in text
    if "-v" in words or "--debug" in words:
        assert "[@fake/gpu1] Connected" in text
        assert text.count("] Success") >= 3 * 5


@pytest.mark.parametrize("environment", [{"TERM": "dumb"}, {"NO_COLOR": "1"}])
def test_a_terminal_without_controls_has_the_lines_of_a_log(upgrade: Clone, environment: dict[str, str]) -> None:
    with run(upgrade, **environment) as terminal:
        assert terminal.end() == 0
        assert "\x1b" not in terminal.written
        assert any(line.startswith("    batch 3 of 3 is done") for line in terminal.lines)


@pytest.mark.parametrize(("fails", "status"), [(False, 0), (True, 1)])
def test_the_outcome_is_right_whoever_reads(clone: Clone, fails: bool, status: int) -> None:
    """`| head` ends long before the run does."""
    broken = serving() | {"journalctl -u barewind-engine": gate("CUDA out of memory", state="failed")}
    clone.inventory(engines=[upgrading(1, broken if fails else None), upgrading(2)], balancers=[up(*GPUS[:2])])
    done = subprocess.run(
        ["bash", "-c", f'"{PYINFRA}" site.py deploy.py -y 2>&1 | head -3; echo "status ${{PIPESTATUS[0]}}"'],
        cwd=clone.path,
        env=os.environ | clone.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == f"status {status}"
    assert len(done.stdout.splitlines()) == 4
    assert done.stderr == ""
