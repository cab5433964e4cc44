"""Asks a release that is new on its host for what the keys want beside the gate."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence

from pyinfra.api import Host, State
from pyinfra.api.exceptions import FactProcessError

from barewind import evaluation, history
from barewind.errors import BarewindError
from barewind.evaluation import Evaluation
from barewind.gates import Gate
from barewind.history import Event
from barewind.operations.shell import run
from barewind.operations.tunnel import tunnel

_SHOWN = 20  # lines of a failed command's output


def evaluate(state: State, host: Host, gate: Gate, wanted: Evaluation, events: Sequence[Event]) -> list[str]:
    """Measure, note the figures on the host, run the user's command; what is not good enough, in words."""
    found = _measure(state, host, gate, wanted, events) if wanted.measures else []
    if not found and wanted.command:
        found = _command(host, gate, wanted.command, wanted.timeout)
    return found


def _measure(state: State, host: Host, gate: Gate, wanted: Evaluation, events: Sequence[Event]) -> list[str]:
    host.log("is new here: questions and a small load are put to it")
    answer = run(state, host, evaluation.measuring(gate, wanted), timeout=evaluation.MEASURE)
    if answer.problem:
        return [f"cannot be measured: {answer.problem}"]
    try:
        figures = evaluation.read(answer.output.splitlines())
    except FactProcessError as error:
        return [f"cannot be measured: {error}"]
    noted = run(state, host, history.measured(gate.release, figures))
    host.log(evaluation.describe(figures, evaluation.reference(events, gate.release, figures)))
    unwritten = [f"its figures cannot be written down: {noted.problem}"] if noted.problem else []
    return unwritten + evaluation.problems(wanted, figures, events, gate.release)


def _command(host: Host, gate: Gate, command: Sequence[str], timeout: int) -> list[str]:
    host.log(f"is evaluated: {' '.join(command)}")
    try:
        with tunnel(host, gate.url) as url:
            status, output = run_command(command, evaluation.environment(gate, url), timeout)
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


def run_command(command: Sequence[str], environment: Mapping[str, str], timeout: float) -> tuple[int | None, str]:
    """Run a command on this machine; its status, None if it took too long, and all it printed.

    Raises:
        OSError: it cannot be started.
    """
    process = subprocess.Popen(
        list(command),  # the user's own, no shell
        env=os.environ | environment,
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
