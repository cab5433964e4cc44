"""A problem of a host, as preflight and the checks of accelerators report it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One thing that stands in the way, and what to do about it."""

    host: str
    finding: str
    remedy: str
