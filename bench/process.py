"""What a command costs: it runs in a process of its own, whose time and memory the system tells."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import click

from tests.support.fake_fleet import quick_hosts


@dataclass(frozen=True)
class Run:
    """A command that has succeeded: seconds by the clock and of processors, memory at most in MiB, both outputs together."""

    seconds: float
    cpu: float
    mib: int
    output: str


def run(command: list[str], folder: Path) -> Run:
    """Run a command over @fake hosts, which answer at once, in a folder.

    Raises:
        ClickException: it failed, which is no measurement; what it printed is shown.
    """
    output = folder / "output"
    start = time.monotonic()
    with output.open("w") as file:
        actions = [(os.POSIX_SPAWN_DUP2, file.fileno(), descriptor) for descriptor in (1, 2)]
        here = Path.cwd()
        os.chdir(folder)
        try:
            process = os.posix_spawn(command[0], command, quick_hosts(), file_actions=actions)
        finally:
            os.chdir(here)
        _, status, usage = os.wait4(process, 0)
    seconds, text = time.monotonic() - start, output.read_text()
    if status:
        print(text[-4000:], file=sys.stderr)
        raise click.ClickException(
            f"{' '.join(command)} ended with status {os.waitstatus_to_exitcode(status)}; see above"
        )
    return Run(seconds, usage.ru_utime + usage.ru_stime, round(usage.ru_maxrss / 1024), text)
