"""Estimates and what is published, side by side."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from barewind import catalog
from barewind.estimate.host import FIRST_TOKEN_ERROR
from barewind.speed.steady import steady_state
from barewind.speed.step import Runner, step_time
from bench.estimate.published import Length, Ratio, Run, ratios, runs
from bench.estimate.replay import Engine

TOKENS, PER_TOKEN, FORMULA, FIRST, TIMES = FIGURES = (
    "tokens/s",
    "ms per token",
    "ms per token, formula",
    "s to the first token",
    "times the tokens/s",
)
_STEP = 8192  # tokens of a step that reads prompts alone


@dataclass(frozen=True)
class Comparison:
    """A figure: what is estimated and published, and by how many percent they may differ; `beyond`: why by more."""

    run: Run | Ratio
    figure: str
    estimated: float
    published: float
    band: int
    beyond: str = ""

    @property
    def error(self) -> float:
        """Percent; below 0 where the estimate is less."""
        return 100 * (self.estimated / self.published - 1)

    @property
    def holds(self) -> bool:
        """Whether it is within the band."""
        return abs(self.error) <= self.band


def comparisons() -> list[Comparison]:
    """Every published figure with its estimate."""
    found = [
        Comparison(run, figure, estimated, published, _band(run, figure), run.beyond.get(figure, ""))
        for run in runs()
        for figure, estimated, published in _figures(run)
    ]
    return [*found, *map(_ratio, ratios())]


def _figures(run: Run) -> Iterator[tuple[str, float, float]]:
    result, published = Engine(run).finish(), run.published
    yield TOKENS, result.tokens_per_second, published.tokens_per_second
    if published.ms_per_token is not None:
        yield PER_TOKEN, result.ms_per_token, published.ms_per_token
        if not _queues(run):
            steady = steady_state(run.runner, run.at_a_time, prompt=_mean(run.prompt), output=_mean(run.output))
            yield FORMULA, steady.per_token * 1000, published.ms_per_token
    if published.first_token is not None:
        yield FIRST, result.first_token, published.first_token


def _band(run: Run, figure: str) -> int:
    return FIRST_TOKEN_ERROR if figure == FIRST else catalog.speeds()[run.hardware].error_percent


def _queues(run: Run) -> bool:
    """Whether not all requests in flight have room in the cache."""
    return run.kv_tokens is not None and run.at_a_time * (_mean(run.prompt) + _mean(run.output)) > run.kv_tokens


def _mean(length: Length) -> int:
    return length if isinstance(length, int) else sum(length) // 2


def _ratio(ratio: Ratio) -> Comparison:
    speed = catalog.speeds()[ratio.hardware]
    one = Runner(ratio.shape, speed, ratio.accelerators)
    several = Runner(ratio.shape, speed, ratio.accelerators // ratio.engines)
    estimated = ratio.engines * _prompts(one, ratio.prompt) / _prompts(several, ratio.prompt)
    return Comparison(ratio, TIMES, estimated, ratio.published, speed.error_percent)


def _prompts(runner: Runner, prompt: int) -> float:
    """Seconds of a step of prompts alone."""
    return step_time(runner, prompt_tokens=_STEP, attended=_STEP * prompt / 2)
