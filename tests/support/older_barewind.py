"""Barewind as an earlier commit has it, to deploy with before this one does."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from lab import paths
from tests.support.commands import ROOT

# What hosts in the field were deployed with: moves with each release.
BASE = "0bf821b2ef7d798c374a7c5603c1d611c07294da"


def checkout() -> Path:
    """The project at BASE, with everything that it pins; made once and kept in the lab's cache."""
    commit = _git("rev-parse", "--verify", "--quiet", f"{BASE}^{{commit}}").stdout.decode().strip()
    if not commit:
        pytest.fail(
            f"commit {BASE}, which fleets are deployed with before, is not in this clone; a shallow one gets it by `git fetch "
            "--unshallow`",
            pytrace=False,
        )
    home = paths.cache() / "older"
    root = home / commit
    if not root.exists():
        shutil.rmtree(home, ignore_errors=True)  # of another commit
        partial = home / "partial"
        partial.mkdir(parents=True)
        archive = _git("archive", commit)
        assert archive.returncode == 0, archive.stderr
        subprocess.run(["tar", "--extract", "--directory", partial], input=archive.stdout, check=True)
        partial.rename(root)
    subprocess.run(["make", "--silent", "setup"], cwd=root, check=True)
    return root


def _git(*words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, check=False)
