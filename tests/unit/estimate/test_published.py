"""Estimates against every published figure: each within the band of its hardware, or with a reason why not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

import pytest

from bench.estimate.__main__ import reasons, table, worst
from bench.estimate.compare import Comparison, comparisons

PAGE = Path(__file__).parents[3] / "docs" / "estimate.md"
MEDIUM = "mistralai/Mistral-Medium-3.5-128B"


@cache
def found() -> list[Comparison]:
    return comparisons()


def test_every_published_run_is_compared() -> None:
    assert len({each.run.name for each in found()}) == 21
    assert {each.run.hardware for each in found()} == {"h100", "h200", "mi300x"}


def test_each_figure_is_within_its_band_or_says_why_not() -> None:
    wrong = [
        f"{each.run.name}, {each.figure}: {each.error:+.1f} %, {each.beyond or 'without a reason'}"
        for each in found()
        if each.holds == bool(each.beyond)
    ]
    assert wrong == []


def test_of_this_model_every_figure_is_within_its_band() -> None:
    own = [each for each in found() if each.run.model == MEDIUM]
    assert len(own) >= 7 * 3
    assert [each.run.name for each in own if not each.holds] == []


@pytest.mark.parametrize("part", [table, worst, reasons])
def test_the_page_has_these_errors(part: Callable[[Sequence[Comparison]], Iterator[str]]) -> None:
    lines = list(part(found()))
    assert [line for line in lines if line not in PAGE.read_text()] == []
