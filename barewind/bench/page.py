"""The page of a bench: one HTML file with its plots in it, which asks no network for anything."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from barewind.bench.document import Bench, Rung
from barewind.templates import from_template

_LEFT, _TOP, _WIDTH, _HEIGHT = 70, 20, 560, 260  # of a plot's area in its drawing, in pixels
_LINES = 5  # of the grid, at most

Point = tuple[float, float]


@dataclass(frozen=True)
class Tick:
    """A line of a grid: where, and what stands beside it."""

    at: float
    text: str


@dataclass(frozen=True)
class Plot:
    """A plot in pixels: measured, estimated with how far that may be off, published."""

    title: str
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]
    measured: tuple[Point, ...]
    estimated: tuple[Point, ...]
    band: tuple[Point, ...]
    published: tuple[Point, ...]
    left: int = _LEFT
    top: int = _TOP
    right: int = _LEFT + _WIDTH
    bottom: int = _TOP + _HEIGHT


def page(bench: Bench) -> str:
    """The text of the file."""
    plots = [
        _plot(
            "Tokens per second",
            bench.rungs,
            lambda rung: rung.tokens_per_second,
            lambda rung: rung.estimate.tokens_per_second if rung.estimate else None,
            lambda rung: rung.published.tokens_per_second if rung.published else None,
        ),
        _plot(
            "Milliseconds per token",
            bench.rungs,
            lambda rung: rung.ms_per_token,
            lambda rung: rung.estimate.ms_per_token if rung.estimate else None,
            lambda rung: rung.published.ms_per_token if rung.published else None,
        ),
        _plot("Milliseconds to the first token", bench.rungs, lambda rung: rung.first_token_ms, _nothing, _first),
    ]
    return from_template("bench/page.html.j2", bench=bench, plots=plots)


def _nothing(rung: Rung) -> None:
    del rung


def _first(rung: Rung) -> float | None:
    seconds = rung.published and rung.published.first_token
    return seconds * 1000 if seconds else None


def _plot(
    title: str,
    rungs: Sequence[Rung],
    measured: Callable[[Rung], float],
    estimated: Callable[[Rung], float | None],
    published: Callable[[Rung], float | None],
) -> Plot:
    loads = [rung.in_flight for rung in rungs]
    told = [
        (rung, value, (rung.estimate.error_percent if rung.estimate else 0) / 100)
        for rung in rungs
        if (value := estimated(rung))
    ]
    others = [(rung, value) for rung in rungs if (value := published(rung))]
    highest = max(
        [*map(measured, rungs), *(value * (1 + error) for _, value, error in told), *(value for _, value in others)]
    )
    step = _step(highest / _LINES)
    top = step * math.ceil(highest / step)

    def place(load: int, value: float) -> Point:
        width = math.log2(max(loads) / min(loads)) or 1
        across = math.log2(load / min(loads)) / width if len(loads) > 1 else 0.5
        return round(_LEFT + across * _WIDTH, 1), round(_TOP + _HEIGHT * (1 - value / top), 1)

    band = [place(rung.in_flight, value * (1 + error)) for rung, value, error in told]
    band += [place(rung.in_flight, value * (1 - error)) for rung, value, error in reversed(told)]
    return Plot(
        title=title,
        across=tuple(Tick(place(load, 0)[0], str(load)) for load in loads),
        up=tuple(Tick(place(loads[0], step * line)[1], f"{step * line:g}") for line in range(round(top / step) + 1)),
        measured=tuple(place(rung.in_flight, measured(rung)) for rung in rungs),
        estimated=tuple(place(rung.in_flight, value) for rung, value, _ in told),
        band=tuple(band),
        published=tuple(place(rung.in_flight, value) for rung, value in others),
    )


def _step(least: float) -> float:
    """1, 2 or 5 times a power of ten, no less than `least`."""
    if least <= 0:
        return 1
    power: float = 10.0 ** math.floor(math.log10(least))
    return next(times * power for times in (1, 2, 5, 10) if times * power >= least * 0.999)
