"""Barewind as a release installs it: a wheel of what is under version control here, in an environment of its own."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.support.fake_fleet import REPOSITORY

UV = str(REPOSITORY / ".venv/bin/uv")


def command(*words: str, cwd: Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program to its end."""
    return subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True, timeout=300, check=False)


def checked(*words: str, cwd: Path) -> str:
    """Run a program that must succeed; its standard output."""
    done = command(*words, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout


def build(folder: Path) -> Path:
    """The wheel, built in a clean copy in `folder`."""
    source, built = folder / "source", folder / "wheel"
    source.mkdir()
    files = checked("git", "ls-files", "-z", cwd=REPOSITORY)
    archive = subprocess.run(
        ["tar", "--null", "--files-from=-", "-c"], cwd=REPOSITORY, input=files.encode(), capture_output=True, check=True
    )
    subprocess.run(["tar", "-x"], cwd=source, input=archive.stdout, check=True)
    checked(UV, "build", "-q", "--wheel", "--out-dir", str(built), str(source), cwd=source)
    (wheel,) = built.glob("*.whl")
    return wheel


def pins(folder: Path) -> None:
    """Write the versions of the lock file to pins.txt in a folder."""
    text = checked(UV, "export", "-q", "--frozen", "--no-dev", "--no-emit-project", "--no-hashes", cwd=REPOSITORY)
    (folder / "pins.txt").write_text(text)


def install(wheel: Path, folder: Path) -> Path:
    """The folder of the programs of an environment that has the wheel and what it needs, at the versions of the lock file."""
    pins(folder)
    checked(UV, "venv", "-q", str(folder / "venv"), cwd=folder)
    python = str(folder / "venv/bin/python")
    checked(UV, "pip", "install", "-q", "--python", python, "-r", "pins.txt", str(wheel), cwd=folder)
    return folder / "venv/bin"
