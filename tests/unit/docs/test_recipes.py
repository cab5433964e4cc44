"""docs/recipes.md shows commands as they are planned."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import pytest

from barewind.plan.checks import problems
from tests.support.factories import engine_spec, plan

TEXT = (Path(__file__).parents[3] / "docs" / "recipes.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```\n\n```text\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def test_every_block_is_found() -> None:
    assert len(BLOCKS) == TEXT.count("```text") == TEXT.count("```python") == 11


@pytest.mark.parametrize(("data", "command"), BLOCKS, ids=[" ".join(data.split("\n")) for data, _ in BLOCKS])
def test_the_command_is_the_planned_one(data: str, command: str) -> None:
    values = {key: ast.literal_eval(value) for key, _, value in (line.partition(" = ") for line in data.splitlines())}
    made = plan(engine_spec(**values))
    assert shlex.split(command.replace("\\\n", " ")) == made.command.argv
    assert problems(made) == []


def test_every_link_within_the_page_has_its_heading() -> None:
    headings = {
        re.sub(r"[^\w -]", "", line[3:].lower()).replace(" ", "-") for line in TEXT.splitlines() if line[:3] == "## "
    }
    assert set(re.findall(r"\(#([^)]+)\)", TEXT)) <= headings
