"""Times on a command line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from barewind.keys import times

NOW = datetime(2026, 11, 30, 12, 0, 0, 123456, UTC)


@pytest.mark.parametrize(
    ("text", "length"),
    [("30m", timedelta(minutes=30)), ("24h", timedelta(hours=24)), ("90d", timedelta(days=90)), (" 1d ", timedelta(1))],
)
def test_lengths(text: str, length: timedelta) -> None:
    assert times.length(text) == length


@pytest.mark.parametrize("text", ["", "0d", "-1d", "1", "1w", "1.5h", "d", "999999d", "٣d", "1d 2h"])
def test_what_is_no_length(text: str) -> None:
    with pytest.raises(ValueError, match="write minutes, hours or days"):
        times.length(text)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("90d", "2027-02-28T12:00:00Z"),
        ("2027-01-31", "2027-01-31T00:00:00Z"),
        ("2027-01-31T12:00:00Z", "2027-01-31T12:00:00Z"),
        ("2027-01-31T12:00:00+02:00", "2027-01-31T10:00:00Z"),
    ],
)
def test_moments(text: str, moment: str) -> None:
    assert times.written(times.moment(text, NOW)) == moment


def test_a_length_counts_back_where_the_past_is_meant() -> None:
    assert times.written(times.moment("7d", NOW, past=True)) == "2026-11-23T12:00:00Z"


@pytest.mark.parametrize("text", ["", "tomorrow", "2027-01-31T12:00:00", "2027-13-01", "31.1.2027"])
def test_what_is_no_moment(text: str) -> None:
    with pytest.raises(ValueError, match="write a length of time"):
        times.moment(text, NOW)
