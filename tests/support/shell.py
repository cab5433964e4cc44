"""What a test that runs a command as a host would is given: programs that stand for the host's, and its shell."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Programs = Callable[..., None]
Shell = Callable[..., subprocess.CompletedProcess[str]]


def printed(shell: Shell, command: str) -> list[str]:
    """The lines that a command prints; it must succeed."""
    done = shell(command)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture
def bin_dir(tmp_path: Path) -> Path:
    """A directory of programs that comes before all others in `shell`."""
    directory = tmp_path / "bin"
    directory.mkdir()
    return directory


def programs_in(directory: Path) -> Programs:
    """Writes programs into a directory: name -> shell script."""

    def write(**scripts: str) -> None:
        for name, script in scripts.items():
            file = directory / name.replace("_", "-")
            file.write_text(f"#!/bin/sh\n{script}\n")
            file.chmod(0o755)

    return write


def shell_in(path: Path, programs: Path) -> Shell:
    """Runs commands in a directory as a host's shell does, with the programs of another before all others."""

    def run(command: str, stdin: str = "", **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", "-c", command],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            cwd=path,
            env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", **env},
        )

    return run


@pytest.fixture
def programs(bin_dir: Path) -> Programs:
    """Write programs that stand for those of a host: name -> shell script."""
    return programs_in(bin_dir)


@pytest.fixture
def shell(bin_dir: Path, tmp_path: Path) -> Shell:
    """Run a command as a host's shell does."""
    return shell_in(tmp_path, bin_dir)
