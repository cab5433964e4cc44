"""A release that is new on its host is evaluated: measured there, and judged by the user's own command here."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence

from pyinfra.api import Host, State
from pyinfra.api.exceptions import FactProcessError

from barewind.errors import BarewindError
from barewind.gate.evaluation import MEASURE, Evaluation, describe, environment, measuring, problems, rate_before, read
from barewind.gate.plan import Gate
from barewind.hosts.shell import run
from barewind.hosts.tunnel import tunnel
from barewind.release import history
from barewind.release.history import Event

_SHOWN = 20  # lines of a failed command's output


def evaluate(state: State, host: Host, gate: Gate, evaluation: Evaluation, events: Sequence[Event]) -> list[str]:
    """Measure, note the figures on the host, run the user's command; returns what is not good enough, as sentences."""
    findings = _measure(state, host, gate, evaluation, events) if evaluation.measures else []
    if not findings and evaluation.command:
        findings = _command(host, gate, evaluation.command, evaluation.timeout, evaluation.passed_on)
    return findings


def _measure(state: State, host: Host, gate: Gate, evaluation: Evaluation, events: Sequence[Event]) -> list[str]:
    host.log("is new here: questions and a small load are put to it")
    answer = run(state, host, measuring(gate, evaluation), timeout=MEASURE)
    if answer.problem:
        return [f"cannot be measured: {answer.problem}"]
    try:
        figures = read(answer.output.splitlines())
    except FactProcessError as error:
        return [f"cannot be measured: {error}"]
    note = run(state, host, history.measured(gate.release, figures, replica=gate.replica))
    host.log(describe(figures, rate_before(events, gate.release, figures)))
    unnoted = [f"its figures cannot be written down: {note.problem}"] if note.problem else []
    return unnoted + problems(evaluation, figures, events, gate.release)


def _command(host: Host, gate: Gate, command: Sequence[str], timeout: int, passed_on: Sequence[str]) -> list[str]:
    host.log(f"is evaluated: {' '.join(command)}")
    try:
        with tunnel(host, gate.url) as url:
            status, output = run_command(command, environment(gate, url, passed_on, os.environ), timeout)
    except BarewindError as error:
        return [str(error)]
    except OSError as error:
        return [f"key 'evaluation': {command[0]} cannot be run ({error.strerror or error}); correct the key"]
    lines = output.splitlines()
    if status == 0:
        host.log(f"evaluation passed{': ' + lines[-1] if lines else ''}")
        return []
    for line in lines[-_SHOWN:]:
        host.log(line)
    if status is None:
        return [f"the evaluation took longer than evaluation_timeout ({timeout} s)"]
    return [f"the evaluation ended with status {status}{': ' + lines[-1] if lines else ''}"]


def run_command(command: Sequence[str], variables: Mapping[str, str], timeout: float) -> tuple[int | None, str]:
    """Run a command here with these variables alone; returns its status, None if it took too long, and its output.

    Raises:
        OSError: the command cannot be started.
    """
    process = subprocess.Popen(
        list(command),  # the user's own, no shell
        env=dict(variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,  # so that what it has started ends with it
    )
    try:
        output, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired as error:
        return None, error.output if isinstance(error.output, str) else (error.output or b"").decode(errors="replace")
    else:
        return process.returncode, output
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
