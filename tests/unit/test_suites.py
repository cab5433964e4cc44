"""Every test is run by `make test` or, where it is marked `full`, by `make test-all`; where the time went is told."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

import pytest

from tools import suites
from tools.suites import Result, Suite

pytestmark = pytest.mark.slow

TESTS = suites.ROOT / "tests"
# Suites of the lab run it on the lab's inventories: `Site.verify`.
VERIFICATION = TESTS / "verify"


def test_every_test_file_belongs_to_one_suite() -> None:
    names = [suite.name for suite in suites.SUITES if not suite.command]
    files = {file.relative_to(TESTS) for file in TESTS.rglob("test_*.py") if VERIFICATION not in file.parents}
    assert {file.parts[0] for file in files} == set(names)
    assert len(names) == len(set(names))


def test_nothing_is_imported_from_a_test_module_or_a_conftest_file() -> None:
    """What several files use is in tests/support/: a test module can then be read, changed and removed for itself."""
    importing = re.compile(r"^ *(?:from|import) tests\.(?:[\w.]+\.)?(?:test_\w+|conftest)\b", re.MULTILINE)
    assert [str(file.relative_to(TESTS)) for file in TESTS.rglob("*.py") if importing.search(file.read_text())] == []


def test_every_suite_is_run() -> None:
    assert suites.chosen(["all"]) == list(suites.SUITES)
    assert [suite.name for suite in suites.SUITES if suite not in suites.chosen(["test"])] == [
        "lab_systems",
        "lab_tutorial",
    ]


def test_a_suite_that_is_left_out_has_only_marked_tests() -> None:
    for suite in suites.SUITES:
        files = list((TESTS / suite.name).glob("test_*.py"))
        assert suite.full == (
            files != [] and all("pytestmark = pytest.mark.full" in file.read_text() for file in files)
        )


def test_only_the_mark_leaves_tests_out() -> None:
    assert suites.SHORTER == ("-m", "not full")
    options = tomllib.loads((suites.ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    assert options["addopts"] == "-q --strict-markers"
    assert not {"collect_ignore", "collect_ignore_glob", "python_files", "norecursedirs"} & set(options)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with two suites of three tests, one of which is marked and one of which fails."""
    monkeypatch.setattr(suites, "ROOT", tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = full\n")
    for name, body in {"good": "pass", "bad": "assert 0"}.items():
        folder = tmp_path / "tests" / name
        folder.mkdir(parents=True)
        text = f"import pytest\ndef test_it():\n    {body}\n@pytest.mark.full\ndef test_long():\n    pass\n"
        (folder / f"test_{name}.py").write_text(text)
    return tmp_path


@pytest.mark.parametrize(("shorter", "tests"), [(True, 1), (False, 2)])
def test_results_are_those_of_pytest(root: Path, capfd: pytest.CaptureFixture[str], shorter: bool, tests: int) -> None:
    broken = Suite("broken", "", command=(sys.executable, "-c", "raise SystemExit(3)"))
    with suites.Runner(shorter=shorter, live=False) as runner:
        results = runner.run([Suite("good", ""), Suite("bad", "", lab=True), broken])
    assert [(result.status, len(result.tests), result.failed) for result in results] == [
        (0, tests, 0),
        (1, tests, 1),
        (3, 0, 0),
    ]
    assert "1 passed" in capfd.readouterr().out  # pytest's own words are shown


def test_the_table_says_where_the_time_went() -> None:
    times = {f"test_a.py::test_{number}": float(number) for number in range(8)}
    results = [Result(Suite("good", ""), 0, 30.0, times, skipped=1), Result(Suite("lint", ""), 2, 1.0, {})]
    rows = suites.table(results, 40.0).splitlines()
    assert rows[2].split() == ["good", "30.0", "8", "0", "1"]
    assert [row.split()[0] for row in rows[3:8]] == ["7.0", "6.0", "5.0", "4.0", "3.0"]
    assert rows[8].split()[:2] == ["lint", "1.0"]
    assert "FAILED with status 2" in rows[8]
    assert rows[-1].split() == ["all", "40.0", "8"]
