"""Benches as tests run them."""

from __future__ import annotations

from typing import Any

from tests.support.commands import json_of
from tests.support.lab import LAB


def benched(*options: str) -> dict[str, Any]:
    """What `barewind bench --json` prints of the lab."""
    done: dict[str, Any] = json_of("barewind", "bench", LAB.inventory, "--json", *options)
    return done
