"""`barewind keys`: what is wrong use. What it does: tests/machine/test_keys.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from barewind.cli.main import main


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ("add site.py Alpha", "write team or team/name, each of small letters"),
        ("add site.py a/b/c", "write team or team/name"),
        ("add site.py alpha --rpm 0", "0 is not in the range 1<=x"),
        ("add site.py alpha --parallel -1", "-1 is not in the range 1<=x"),
        ("add site.py alpha --tokens-per-minute many", "'many' is not a valid integer"),
        ("add site.py alpha --priority urgent", "'urgent' is not one of 'interactive', 'normal', 'batch'"),
        ("add site.py alpha --expires 2020-01-01", "'2020-01-01' is over."),
        ("add site.py alpha --expires soon", "write a length of time (90d), a date"),
        ("rotate site.py alpha --keep 0h", "write minutes, hours or days"),
        ("usage site.py --since 2127-01-01", "'2127-01-01' is still to come."),
        ("usage site.py --csv --json", "--json and --csv: choose one."),
        ("session site.py", "Missing argument 'COMMAND...'"),
    ],
)
def test_wrong_use_is_status_2_and_changes_nothing(folder: Path, words: str, problem: str) -> None:
    result = CliRunner(env={"COLUMNS": "250"}).invoke(main, ["keys", *words.split()])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("Usage: ")
    assert problem in result.stderr
    assert not (folder / "keys.yaml").exists()
