"""The wait for an engine's first answer, in a real shell with a clock that the test drives."""

from __future__ import annotations

from typing import Any

import pytest

from barewind.gate.operations.gate import answered
from tests.support.data_files import settled_tests
from tests.support.operations import run
from tests.support.shell import Programs, Shell

pytestmark = pytest.mark.slow

GATE = {"url": "http://10.0.0.11:8000", "model": "m", "unit": "e.service", "timeout": 60}

TestAnsweredSettled = settled_tests(answered, GATE, "facts.Answers", True, subject=GATE["url"])


def wait_for_engine(shell: Shell, programs: Programs, timeout: int = 3600, **host: str) -> Any:
    """Run the gate with a clock that goes one minute further at every look."""
    (command,) = run(answered, GATE | {"timeout": timeout}, "facts.Answers", False)
    programs(
        **{
            "curl": "echo 'Connection refused' >&2; exit 7",
            "systemctl": unit_is("active"),
            "journalctl": "echo 'RuntimeError: out of memory'",
            "sleep": "",
            "date": "echo x >> looks; echo $(($(wc -l < looks) * 60))",
        }
        | host
    )
    return shell(command)


def test_the_gate_opens_when_the_engine_answers(shell: Shell, programs: Programs) -> None:
    curl = 'echo x >> tries; [ $(wc -l < tries) -ge 3 ] && echo \'{"usage": {"completion_tokens": 1}}\''
    done = wait_for_engine(shell, programs, curl=curl)
    assert (done.returncode, done.stderr) == (0, "")
    assert shell("wc -l < tries").stdout.strip() == "3"


def unit_is(state: str, restarts: int = 0) -> str:
    """A unit that had been restarted seven times before, and is restarted so many times while the gate looks."""
    count = f"echo x >> asked; n=$(($(wc -l < asked) - 1)); [ $n -gt {restarts} ] && n={restarts}; echo $((7 + n))"
    return f'case "$*" in *NRestarts*) {count};; *) echo {state};; esac'


@pytest.mark.parametrize(
    ("host", "why"),
    [
        ({"systemctl": unit_is("failed")}, "its unit failed."),
        ({"systemctl": unit_is("activating", 2)}, "its unit was restarted 2 times."),
        ({"systemctl": unit_is("active")}, "the time limit of 3600 s is over."),
        ({"systemctl": "exit 1"}, "the time limit of 3600 s is over."),
    ],
    ids=["failed", "restarted", "time", "no systemctl"],
)
def test_the_gate_gives_up_with_reason_and_log(
    shell: Shell, programs: Programs, host: dict[str, str], why: str
) -> None:
    done = wait_for_engine(shell, programs, **host)
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert lines[0] == "RuntimeError: out of memory"
    assert lines[1].startswith(f"gpu-h1: http://10.0.0.11:8000 does not answer: {why} Last answer: Connection refused")
    assert lines[-1] == "gpu-h1: the log above ends with the reason; more of it: journalctl -u e.service"


def test_one_restart_is_forgiven(shell: Shell, programs: Programs) -> None:
    curl = 'echo x >> tries; [ $(wc -l < tries) -ge 5 ] && echo \'{"usage": {"completion_tokens": 1}}\''
    done = wait_for_engine(shell, programs, systemctl=unit_is("active", 1), curl=curl)
    assert done.returncode == 0


@pytest.mark.parametrize(("status", "opens"), [("401", True), ("503", False), ("200", False)])
def test_where_engines_want_a_key_that_is_the_answer(
    shell: Shell, programs: Programs, status: str, opens: bool
) -> None:
    (command,) = run(answered, GATE | {"keyed": True}, "facts.Answers", False)
    programs(
        curl=f"printf {status}",
        systemctl=unit_is("active"),
        journalctl=":",
        sleep="",
        date="echo x >> looks; echo $(($(wc -l < looks) * 60))",
    )
    assert (shell(command).returncode == 0) is opens
