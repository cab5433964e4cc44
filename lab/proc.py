"""Running other programs: arguments as lists, errors as one sentence."""

import shlex
import subprocess
from collections.abc import Sequence

from lab.errors import LabError

Result = subprocess.CompletedProcess[str]


def run(argv: Sequence[str], *, text: str | None = None, check: bool = True, timeout: float | None = None) -> Result:
    """Run a program and return its output; LabError with its last words when it fails. `timeout` in seconds."""
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
    """The last line that says something, for a message of one sentence."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it said nothing"


def _short(argv: Sequence[str]) -> str:
    command = shlex.join(argv)
    return command if len(command) <= 100 else command[:97] + "..."
