"""Which of two versions is older."""

from __future__ import annotations

import pytest

from barewind.versions import older


@pytest.mark.parametrize(
    ("version", "floor", "expected"),
    [
        ("580.126.09", "580", False),
        ("580.126.09", "580.126.20", True),
        ("580.126.9", "580.126.09", False),
        ("580", "580.0.0", False),
        ("570.211.01", "580", True),
        ("1.9.0", "1.18.0", True),
        ("0.32.0", "0.32.0", False),
        ("7.2.3", "7.0", False),
        ("6.4", "7.0", True),
        ("7.0rc1", "7.0", False),
        ("6.4.0rc1", "7.0", False),
        ("6.16.6", "6.14.14", False),
    ],
)
def test_older(version: str, floor: str, expected: bool) -> None:
    assert older(version, floor) is expected


@pytest.mark.parametrize("version", ["", "unknown", "6.1.0-41-amd64", "7.x"])
def test_what_is_no_version_has_no_order(version: str) -> None:
    with pytest.raises(ValueError, match="Invalid version"):
        older(version, "1.0")
