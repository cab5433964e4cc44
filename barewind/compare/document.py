"""A comparison as `barewind plan --compare --json` prints it. docs/compare.schema.json is made of these models."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from barewind.catalog.entries import Part
from barewind.estimate.host import Estimate

Objective = Literal["throughput", "latency", "cost", "context"]


class Setup(Part):
    """One way to serve the model on a host."""

    planned: bool = Field(description="whether it is what the keys ask for now")
    replicas: int = Field(description="engines of the host")
    tensor_parallel: int = Field(description="accelerators that hold the model together")
    draft: bool = Field(description="whether a draft head drafts tokens")
    kv_cache: Literal["bf16", "fp8"] = Field(description="elements of the KV cache")
    modality: Literal["text", "image"]
    context_length: int = Field(description="tokens, prompt and answer together")
    kv_tokens: int = Field(description="tokens of KV cache of the host, all its engines together")
    sequences: int = Field(description="sequences of the whole context that the host holds at a time")
    estimate: Estimate | None = Field(description="how fast the host will be; null where nothing is known of that")
    no_estimate: str | None = Field(description="why nothing is known of how fast it will be; null where something is")
    queued: int | None = Field(
        description="requests in flight beyond what the host runs at a time; null without estimate"
    )
    cost_per_million_tokens: float | None = Field(
        description="of answers, in the currency of 'cost_per_hour'; null without that key or without estimate"
    )


class Comparison(Part):
    """The set-ups of hosts that are alike, the best first."""

    hosts: tuple[str, ...]
    accelerator: str
    accelerators: int = Field(description="accelerators of the host that engines use")
    engine: str
    model: str
    in_flight: int = Field(description="requests in flight on each host that the estimates are for")
    objective: Objective = Field(description="what the set-ups are sorted by")
    cost_per_hour: float | None = Field(description="of a host, in any currency; null where the key is not set")
    setups: tuple[Setup, ...]
    too_large: int = Field(description="set-ups that are left out because they do not fit")
    refused: dict[str, int] = Field(description="why other set-ups are left out, and how many")
