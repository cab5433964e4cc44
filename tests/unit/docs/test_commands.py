"""Every command of README.md, docs/start.md and docs/tutorial.md is run by a test, or is what runs the tests."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.support import pages
from tests.support.pages import Command, commands

ROOT = Path(__file__).parents[3]
RUN_BY = {  # the start of commands -> the test that runs them with `pages.run`
    "README.md": {"pyinfra ": "tests/lab_accelerators/test_start.py", "make demo": "tests/lab_engine/test_vllm.py"},
    "docs/start.md": {"": "tests/lab_accelerators/test_start.py"},
    "docs/tutorial.md": {"": "tests/lab_tutorial/test_tutorial.py"},
}
# What .ci/run runs, or `tools.suites`, which a test cannot do inside of itself.
RUNS_TESTS = ["make test", "make test-all", "make lab-down"]


@pytest.mark.parametrize("page", RUN_BY)
def test_every_command_has_a_test_that_runs_it(page: str) -> None:
    for start, file in RUN_BY[page].items():
        asked = f'only="{start}"' if start else f'"{page}"'
        assert re.search(rf"pages\.run\(\s*\"{page}\"", (ROOT / file).read_text())
        assert asked in (ROOT / file).read_text()
    left = [each.text for each in commands(page) if not each.text.startswith(tuple(RUN_BY[page]))]
    words = [shlex.join(shlex.split(text, comments=True)) for text in left]
    assert words == (RUNS_TESTS if page == "README.md" else [])


def test_what_runs_the_tests_is_what_the_readme_says() -> None:
    """As .ci/run calls it; and each is a goal of the Makefile that comes to the suites."""
    ci = (ROOT / ".ci" / "run").read_text()
    assert re.search(r"^    make test$", ci, re.MULTILINE)
    assert "trap 'make -s lab-down' EXIT" in ci
    for goal, comes_to in (
        ("test", "python -m tools.suites test"),
        ("test-all", "python -m tools.suites all"),
        ("lab-down", "barewind lab down"),
    ):
        planned = subprocess.run(["make", "-n", goal], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        assert comes_to in planned


# --- How a page is read ------------------------------------------------------------------------------------------------

PAGE = """\
# Page

```console
$ one \\
    --option
shown ... here
$ cd two && three
Write it? [y/N]: y
(exit status 1)
```

```sh
four   # why
```

```text
not run
```
"""


def read(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Command]:
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    (tmp_path / "page.md").write_text(text)
    return commands("page.md")


def test_commands_have_what_is_shown_below_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two, four = read(PAGE, tmp_path, monkeypatch)
    assert (one.line, one.text, one.shown) == (4, "one --option", ("shown ... here",))
    assert (two.text, two.questions, two.status) == ("cd two && three", [("Write it? [y/N]:", "y")], 1)
    assert four.text == "four   # why"


@pytest.mark.parametrize("block", ["    indented", "```bash\nx\n```", "```\nx\n```"])
def test_a_block_that_nobody_would_run_is_an_error(block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AssertionError, match=r"page\.md:3: "):
        read(f"# Page\n\n{block}\n", tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("shown", "output", "missing"),
    [
        ("a ... b", "x\na 1 2  b\n", []),
        ("a   b", "a b", []),
        ("...", "", []),
        ("a ... c", "a\nc\n", ["a ... c"]),
        ("Write? [y/N]: y", "Write? [y/N]: y", []),
        ("(exit status 1)", "", []),
    ],
)
def test_what_a_page_shows_must_come(shown: str, output: str, missing: list[str]) -> None:
    assert Command(1, "x", (shown,)).missing(output) == missing


ASKS = """```console
$ mkdir here && cd here && export WHO=me
$ read -p 'Go on? [y/N]: ' a; echo $a-$WHO > file
Go on? [y/N]: y
```
"""
PLAIN = {"PATH": "/usr/bin:/bin"}


def test_commands_run_one_after_the_other_and_questions_are_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read(ASKS, tmp_path, monkeypatch)
    pages.run("page.md", tmp_path, PLAIN, instead={"here": "there"})
    assert (tmp_path / "there" / "file").read_text() == "y-me\n"


@pytest.mark.parametrize(
    ("commands", "problem"),
    [("$ true\nmore", "does not print"), ("$ exit 3", "ended with status 3")],
)
def test_a_page_that_is_not_right_fails(
    commands: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read(f"```console\n{commands}\n```\n", tmp_path, monkeypatch)
    with pytest.raises(AssertionError, match=problem):
        pages.run("page.md", tmp_path, PLAIN)
