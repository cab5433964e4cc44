"""The mark of a host that is drained on purpose."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from barewind import deliberate


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "etc" / "drained.json"
    monkeypatch.setattr(deliberate, "FILE", str(path))
    return path


def run(command: str) -> None:
    subprocess.run(["sh", "-c", command], check=True)


def test_who_when_and_why_whatever_characters_they_are_made_of(file: Path) -> None:
    reason = 'it\'s "100%" $(broken) \\n äöü'
    run(deliberate.write("ann@ws1", reason))
    mark = deliberate.read(file.read_text().splitlines())
    assert mark is not None
    assert (mark.by, mark.why) == ("ann@ws1", reason)
    assert mark.said.startswith("by ann@ws1 since 20")
    assert file.stat().st_mode & 0o777 == 0o644


def test_the_first_word_counts(file: Path) -> None:
    run(deliberate.write("ann@ws1", "memory"))
    run(deliberate.write("bob@ws2", None))
    assert "ann@ws1" in file.read_text()


def test_no_mark_and_one_that_cannot_be_read() -> None:
    assert deliberate.read([]) is None
    for text in ('{"at": "x', "[]", '{"by": "x"}'):
        mark = deliberate.read([text])
        assert mark is not None
        assert "cannot be read" in mark.said
