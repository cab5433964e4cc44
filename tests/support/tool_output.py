"""What vendors' tools print, as files: tests/unit/drivers/output/."""

from __future__ import annotations

from pathlib import Path

OUTPUT = Path(__file__).parents[1] / "unit" / "drivers" / "output"


def said(name: str) -> list[str]:
    """The lines of a file under output/."""
    return (OUTPUT / name).read_text().splitlines()
