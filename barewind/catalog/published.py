"""The catalog's part about what others have measured; published.yaml explains the fields."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any

from pydantic import Field

from barewind.catalog.entries import Part
from barewind.documents import read_yaml

Length = int | tuple[int, int]


class Figures(Part):
    """What was measured; seconds to the first token."""

    tokens_per_second: float
    ms_per_token: float | None = None
    first_token: float | None = None


class Setup(Part):
    """What was measured on. `source` says who did."""

    model: str
    hardware: str
    accelerators: int
    source: str


class PublishedRun(Setup):
    """A published run of one engine."""

    requests: int
    at_a_time: int
    prompt: Length
    output: Length
    separate: bool = False
    kv_bytes: int = 2
    kv_tokens: int | None = None
    stall: float = 0
    draft: bool = False
    fit: bool = False
    published: Figures
    beyond: dict[str, str] = Field(default_factory=dict)


@cache
def document() -> Any:
    """The file as it is."""
    return read_yaml((resources.files(__package__) / "published.yaml").read_text())


def rows() -> list[dict[str, Any]]:
    """The fields of each published run: what a group of them has in common stands in the file once."""
    return [
        {"source": group["source"], **group["load"], **row} for group in document()["runs"] for row in group["rows"]
    ]


@cache
def published() -> tuple[PublishedRun, ...]:
    """Every published run."""
    return tuple(PublishedRun(**row) for row in rows())
