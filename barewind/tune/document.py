"""A tuning as `barewind tune --json` prints it. docs/tune.schema.json is made of these models."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from barewind.bench.document import Bench
from barewind.catalog.entries import Part


class Attempt(Part):
    """What became of a candidate."""

    name: str
    changes: dict[str, Any] = Field(description="keys of group data that differ from the planned ones")
    release: str = Field(description="the release that would serve")
    estimated: float | None = Field(
        description="tokens per second of this engine with the expected load, by the estimate; null where nothing is known"
    )
    bench: Bench | None = Field(description="what was measured; null where it did not come to that")
    failed: str | None = Field(description="why it did not start or answer; null where it did")


class Constants(Part):
    """Two constants of the law of estimates, fitted to the measurements; barewind/catalog/speeds.yaml explains them."""

    accelerator: str
    layer_us: float
    prompt_share: float
    error_percent: float = Field(description="the largest error that is left of milliseconds per token")
    before: float = Field(description="the same with the constants of the catalog")
    entry: str = Field(description="for a file of the key 'catalog': YAML")


class Tuning(Part):
    """What was tried on an engine, and what is proposed."""

    replica: str
    host: str
    in_flight: int = Field(description="requests in flight that the engine shall be good at")
    attempts: tuple[Attempt, ...]
    left_out: tuple[str, ...] = Field(description="candidates that were not tried, each with the reason")
    best: str = Field(description="name of the candidate with the most goodput")
    gain_percent: float = Field(description="how much more that is than what is planned")
    diff: str = Field(description="of group data; empty where nothing better was found")
    notes: tuple[str, ...]
    constants: Constants | None
    no_constants: str | None = Field(description="why no constants were fitted; null where they were")
