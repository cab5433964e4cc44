"""Runs other programs: arguments as lists, failures as a sentence."""

import shlex
import subprocess
from collections.abc import Sequence

from lab.errors import LabError

Result = subprocess.CompletedProcess[str]


def run(argv: Sequence[str], *, text: str | None = None, check: bool = True, timeout: float | None = None) -> Result:
    """Run a program and return its result. `text` is its input, `timeout` is in seconds.

    LabError, with the last line of its output, when it fails, takes too long or is not installed.
    """
    try:
        result = subprocess.run(argv, input=text, capture_output=True, text=True, timeout=timeout, check=False)
    except FileNotFoundError:
        raise LabError(f"{argv[0]} is not installed; install it and run `barewind lab up` again") from None
    except subprocess.TimeoutExpired:
        raise LabError(f"`{_short(argv)}` did not end within {timeout:.0f} s; run `barewind lab up` again") from None
    if check and result.returncode != 0:
        raise LabError(f"`{_short(argv)}` failed: {last_words(result.stderr or result.stdout)}")
    return result


def last_words(output: str) -> str:
    """Last line of an output that is not blank, shortened for a message."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it printed nothing"


def _short(argv: Sequence[str]) -> str:
    command = shlex.join(argv)
    return command if len(command) <= 100 else command[:97] + "..."
