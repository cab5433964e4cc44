"""Two constants of the law of a step, fitted to what was measured: what a layer takes, which share of the peak prompts reach.

Software decides them, and measurements of one engine tell them apart: a token of a request that is alone takes what the layers
take beside the weights, and what others in flight add is mostly that their prompts are read. Least squares of the relative errors
of the milliseconds per token, over the rungs of every candidate whose set-up the law knows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from barewind import catalog
from barewind.catalog import Speed
from barewind.speed.steady import steady_state
from barewind.speed.step import Runner

LEAST = 3  # measurements, and two loads: less does not tell the two constants apart
_SPAN = 8.0  # times the catalog's value, at most, and as little
_ROUNDS = 40
_TOLERANCE = 1e-4
_GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class Sample:
    """The milliseconds per token of an engine with so many requests at a time, whose prompts and answers have these tokens."""

    runner: Runner
    at_a_time: int
    prompt: int
    output: int
    ms_per_token: float


@dataclass(frozen=True)
class Fitted:
    """The constants, and the largest error that is left, in percent; `before`: that of the catalog's own."""

    layer_us: float
    prompt_share: float
    error_percent: float
    before: float


def fit(accelerator: str, samples: Sequence[Sample]) -> Fitted | str:
    """The constants of an accelerator by what was measured on it; or why they cannot be told."""
    speed = catalog.speeds().get(accelerator)
    if speed is None:
        return f"nothing is known of how fast {accelerator} is, so that two constants are not enough"
    if len(samples) < LEAST or len({sample.at_a_time for sample in samples}) < 2:
        return f"{LEAST} measurements of two loads are the least; there are {len(samples)}"

    def squares(layer: float, prompts: float) -> float:
        own = _with(speed, layer, prompts)
        return sum(_error(sample, own) ** 2 for sample in samples)

    layer, prompts = speed.layer_us, speed.prompt_share
    layers = (layer / _SPAN, layer * _SPAN)
    shares = (prompts / _SPAN, min(1.0, prompts * _SPAN))
    for _ in range(_ROUNDS):  # one after the other: the valley is no narrow one
        before = (layer, prompts)
        layer = _least(partial(squares, prompts=prompts), *layers)
        prompts = _least(partial(squares, layer), *shares)
        if all(abs(now / then - 1) < _TOLERANCE for now, then in zip((layer, prompts), before, strict=True)):
            break
    own = _with(speed, layer, prompts)
    return Fitted(
        layer_us=_rounded(layer),
        prompt_share=_rounded(prompts),
        error_percent=round(max(abs(_error(sample, own)) for sample in samples) * 100, 1),
        before=round(max(abs(_error(sample, speed)) for sample in samples) * 100, 1),
    )


def _error(sample: Sample, speed: Speed) -> float:
    """How much of what was measured the law is off."""
    steady = steady_state(
        replace(sample.runner, speed=speed), sample.at_a_time, prompt=sample.prompt, output=sample.output
    )
    return steady.per_token * 1000 / sample.ms_per_token - 1


def _with(speed: Speed, layer: float, prompts: float) -> Speed:
    return speed.model_copy(update={"layer_us": layer, "prompt_share": prompts})


def _least(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a function of one valley is least, by golden section on a scale of powers."""
    low, high = math.log(low), math.log(high)
    while high - low > _TOLERANCE / 10:
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        if function(math.exp(left)) < function(math.exp(right)):
            high = right
        else:
            low = left
    return math.exp((low + high) / 2)


def _rounded(value: float) -> float:
    """Three figures: a measurement tells no more."""
    return float(f"{value:.3g}")
