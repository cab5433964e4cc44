"""Keys for tests, and a file of them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from barewind.keys import text
from barewind.keys.entry import Key

CREATED = datetime(2026, 11, 28, 12, tzinfo=UTC)


def key(id: str = "alpha/ci", secret: str = "", **changes: Any) -> Key:
    """A key; `secret` is its text, which it may do without."""
    values = {"id": id, "sha256": text.sha256(secret or id), "hint": text.hint(secret or id), "created": CREATED}
    return Key(**{**values, "by": "ann@ws1", **changes})
