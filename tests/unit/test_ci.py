"""What `.ci/run` runs: everything, unless nothing but documents has changed since a commit whose tests have passed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
ALL, SHORT = ["test", "-s lab-down"], ["check"]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone of a project with this `.ci/run`; `make` only writes down what it is asked for."""
    root = tmp_path / "clone"
    shutil.copytree(ROOT / ".ci", root / ".ci")
    program = tmp_path / "bin" / "make"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$*" >> {tmp_path}/asked\n')
    program.chmod(0o755)
    git(root, "init", "-q")
    commit(root, "barewind/plan.py", "docs/plan.md", "README.md", "LICENSE", "docs.py")
    return root


def git(root: Path, *words: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
    return subprocess.run(
        ["git", *identity, *words], cwd=root, capture_output=True, text=True, check=True
    ).stdout.strip()


def commit(root: Path, *names: str) -> None:
    for name in names:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(file.read_text() + "more\n" if file.exists() else "text\n")
    git(root, "add", "--all")
    git(root, "commit", "-q", "--allow-empty", "-m", "change")


def asked(root: Path, **environment: str) -> list[str]:
    """What make was asked for."""
    environment = {"PATH": f"{root.parent}/bin:{os.environ['PATH']}", **environment}
    subprocess.run([root / ".ci" / "run"], env=environment, capture_output=True, check=True)
    return (root.parent / "asked").read_text().splitlines()


@pytest.mark.parametrize(
    ("changes", "runs"),
    [
        ([["README.md"]], SHORT),
        ([["docs/plan.md", "docs/new.svg"], ["LICENSE"]], SHORT),
        ([["barewind/README.md"]], SHORT),
        ([["barewind/plan.py"]], ALL),
        ([["barewind/plan.py"], ["README.md"]], ALL),
        ([["README.md", "docs.py"]], ALL),
        ([["barewind/docs/plan.py"]], ALL),
        ([["README.md.py"]], ALL),
        ([], ALL),
    ],
)
def test_documents_alone_take_the_short_way(clone: Path, changes: list[list[str]], runs: list[str]) -> None:
    tested = git(clone, "rev-parse", "HEAD")
    for names in changes:
        commit(clone, *names)
    assert asked(clone, TESTED_COMMIT=tested) == runs


def test_code_that_became_a_document_is_a_change_of_code(clone: Path) -> None:
    tested = git(clone, "rev-parse", "HEAD")
    git(clone, "mv", "docs.py", "docs/old.md")
    commit(clone)
    assert asked(clone, TESTED_COMMIT=tested) == ALL


def test_what_is_not_known_to_be_tested_is_tested(clone: Path) -> None:
    commit(clone, "README.md")
    assert asked(clone) == ALL


@pytest.mark.parametrize("tested", ["", "no-such-commit"])
def test_a_commit_that_is_not_there_counts_for_nothing(clone: Path, tested: str) -> None:
    commit(clone, "README.md")
    assert asked(clone, TESTED_COMMIT=tested) == ALL


def test_a_commit_of_another_line_counts_for_nothing(clone: Path) -> None:
    git(clone, "checkout", "-q", "-b", "other")
    commit(clone, "barewind/plan.py")
    other = git(clone, "rev-parse", "HEAD")
    git(clone, "checkout", "-q", "-")
    commit(clone, "README.md")
    assert asked(clone, TESTED_COMMIT=other) == ALL


def test_changes_that_are_not_committed_count(clone: Path) -> None:
    tested = git(clone, "rev-parse", "HEAD")
    commit(clone, "README.md")
    (clone / "barewind" / "plan.py").write_text("changed\n")
    assert asked(clone, TESTED_COMMIT=tested) == ALL
