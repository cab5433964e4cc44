"""The catalog's part about how fast accelerators are, for estimates; speeds.yaml explains the fields."""

from __future__ import annotations

from functools import cache
from typing import Annotated

from pydantic import Field

from barewind.catalog.entries import Entry, Part, load

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, le=1)]


class AllReduce(Part):
    """How fast a number of accelerators sum what each of them has."""

    bus_gb_s: Positive
    latency_us: Positive


class Speed(Entry):
    """How fast an accelerator is, and how well engines use it. TB, GB and TFLOPS are powers of ten."""

    memory_tb_s: Positive
    fp8_tflops: Positive
    bf16_tflops: Positive
    all_reduce: dict[Annotated[int, Field(ge=2)], AllReduce]
    weights_share: Share
    kv_share: Share
    prompt_share: Share
    layer_us: Positive
    sequence_us: Positive
    step_us: Positive
    error_percent: Annotated[int, Field(ge=1, le=100)]
    measured: bool = False  # whether a site has measured it on hardware of its own


class Measured(Entry):
    """What a site has measured, for its own catalog: the constants of a `Speed` that software decides."""

    layer_us: Positive
    prompt_share: Share
    error_percent: Annotated[int, Field(ge=1, le=100)]


@cache
def speeds() -> dict[str, Speed]:
    """What is known of accelerators' speed, by their short names; few have an entry."""
    return load("speeds.yaml", Speed)
