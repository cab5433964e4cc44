"""Histories of hosts: which releases they ran, and how that went."""

from __future__ import annotations

from typing import Any

from barewind.release.history import Event
from barewind.release.record import Record

A, B, Y, Z = "aaaaaaaaaaaa", "bbbbbbbbbbbb", "111111111111", "000000000000"


def record(release: str, **values: Any) -> Record:
    """A release on record: right in every value, so that a test names only what it is about."""
    values_of_all = {
        "release": release, "image": "x@sha256:1", "model": "m@1", "draft": None, "served_model_name": "m", "weights": (),
        "argv": ("vllm", "serve", "m"), "env": {}, "accelerator": "h200", "unit": "", "port": 8000, "engine": "vllm",
    }  # fmt: skip
    return Record(**values_of_all | values)


def served(minute: int, release: str, *events: str, why: str | None = None, rollback: bool = False) -> list[Event]:
    """Events of a release at one minute of the same hour."""
    at = f"2026-11-22T09:{minute:02}:00Z"
    return [Event(at, release, event, "ann@ws1", why, rollback=rollback) for event in events]


FIRST = served(1, Z, "started", "serving") + served(2, A, "started", "serving")
UPGRADED = served(10, B, "started", "serving")
FAILED = served(11, B, "started", "failed")
RESTORED = served(12, A, "restored", why=f"{B} failed")  # by on_failure
BACK = served(20, A, "started", "serving", why="too slow", rollback=True)
