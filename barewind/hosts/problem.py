"""A problem of a host, as preflight and the checks of accelerators report it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """A finding that stands in the way of a deploy, and its remedy."""

    host: str
    finding: str
    remedy: str
