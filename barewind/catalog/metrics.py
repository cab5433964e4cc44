"""The catalog's part about metrics: our name of a figure, and how it follows from what engines and exporters call it."""

from __future__ import annotations

import re
from functools import cache
from typing import Literal

from pydantic import Field, model_validator

from barewind.catalog.entries import Entry, load

PREFIX = "barewind:"

_ENGINE_LABELS = "host, replica, server, group, runtime"
_ACCELERATOR_LABELS = "host, group, gpu"
_BY = "<by>"
_HISTOGRAM = re.compile("_(bucket|sum|count)$")


class Figure(Entry):
    """A figure, and the expression that gives it where an engine, or an exporter of accelerators, is the source."""

    about: str
    type: Literal["gauge", "rate", "buckets"]
    unit: Literal["requests", "requests/s", "tokens/s", "seconds", "ratio", "bytes", "celsius", "watts", "errors"]
    engines: dict[str, str] = Field(default_factory=dict)
    accelerators: dict[str, str] = Field(default_factory=dict)
    none: dict[str, str] = Field(default_factory=dict)
    idle: bool = False

    @model_validator(mode="after")
    def _has_a_source(self) -> Figure:
        if bool(self.engines) == bool(self.accelerators):
            raise ValueError("has expressions of engines or of accelerators, not of both or neither")
        return self

    @property
    def expression(self) -> str:
        """The figure of every host, whatever its source, as a recording rule has it."""
        labels = _ENGINE_LABELS if self.engines else _ACCELERATOR_LABELS
        sources = (*self.engines.values(), *self.accelerators.values())
        parts = [part.replace(_BY, labels) for part in sources]
        if self.idle:
            parts.append(f"0 * {PREFIX}requests_running")
        return "\nor ".join(parts)

    def names(self, engine: str) -> list[str]:
        """The engine's own metrics that the figure is made of; of a histogram its name without the ending."""
        words = re.findall(r"\b[a-z_]+:\w+", self.engines.get(engine, ""))
        own = (_HISTOGRAM.sub("", word) for word in words if not word.startswith(PREFIX))
        return list(dict.fromkeys(own))


@cache
def metrics() -> dict[str, Figure]:
    """Every figure, by our name of it without the prefix."""
    return load("metrics.yaml", Figure)
