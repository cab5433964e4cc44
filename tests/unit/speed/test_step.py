"""The law of a step: its values, and how it changes with what it is given."""

from __future__ import annotations

from typing import Any

import pytest

from barewind import catalog
from barewind.speed.steady import first_token, steady_state
from barewind.speed.step import Draft, Runner, draft_time, step_time, summing
from tests.support.factories import MEDIUM

EAGLE = Draft(weights=3_113_851_290, layers=2, tokens=3, accepted=1.72)


def runner(accelerator: str, tensor_parallel: int, **changes: Any) -> Runner:
    speed = catalog.speeds()[accelerator]
    return Runner(catalog.models()[MEDIUM].shape, speed, tensor_parallel, **changes)


@pytest.mark.parametrize(
    ("engine", "load", "milliseconds"),
    [
        (runner("h200", 8), {}, 10.9176),
        (runner("h200", 8), {"sequences": 32, "kv_tokens": 49152}, 12.9551),
        (
            runner("h200", 4),
            {"sequences": 32, "kv_tokens": 49152, "prompt_tokens": 4096, "attended": 4096**2 / 2},
            389.5713,
        ),
        (runner("h100", 2, kv_bytes=1), {"sequences": 8, "kv_tokens": 80000}, 30.7001),
        (runner("b200", 1), {"prompt_tokens": 8192, "attended": 8192**2 / 2}, 1036.5501),
        (runner("mi300x", 1), {"sequences": 128, "kv_tokens": 196608}, 74.9351),
        (runner("mi355x", 8), {"sequences": 1, "kv_tokens": 1536}, 21.9222),
        (runner("mi325x", 2, draft=EAGLE), {"sequences": 512, "kv_tokens": 100000}, 567.0867),
    ],
)
def test_a_step_takes(engine: Runner, load: dict[str, Any], milliseconds: float) -> None:
    assert step_time(engine, **load) * 1000 == pytest.approx(milliseconds, rel=1e-5)


@pytest.mark.parametrize(("tensor_parallel", "milliseconds"), [(2, 3.5481), (4, 2.4713), (8, 1.9305)])
def test_drafting_takes(tensor_parallel: int, milliseconds: float) -> None:
    assert draft_time(runner("h200", tensor_parallel, draft=EAGLE), 16) * 1000 == pytest.approx(milliseconds, rel=1e-3)
    assert draft_time(runner("h200", tensor_parallel), 16) == 0


@pytest.mark.parametrize(
    ("engine", "in_flight", "prompt", "output", "tokens_per_second", "milliseconds"),
    [
        (runner("h200", 8), 1, 1024, 1024, 90.25, 10.9813),
        (runner("h200", 8), 128, 1024, 1024, 4804.85, 26.537),
        (runner("mi300x", 1), 32, 1024, 1024, 542.56, 58.567),
        (runner("b200", 4), 8, 8192, 512, 389.88, 19.5985),
    ],
)
def test_a_steady_state_is(
    engine: Runner, in_flight: int, prompt: int, output: int, tokens_per_second: float, milliseconds: float
) -> None:
    steady = steady_state(engine, in_flight, prompt=prompt, output=output)
    assert steady.tokens_per_second == pytest.approx(tokens_per_second, rel=1e-4)
    assert steady.per_token * 1000 == pytest.approx(milliseconds, rel=1e-4)


@pytest.mark.parametrize("accelerator", catalog.speeds())
def test_more_accelerators_read_weights_faster_and_sum_slower(accelerator: str) -> None:
    steps = [step_time(runner(accelerator, size), sequences=1) for size in (1, 2, 4, 8)]
    assert steps == sorted(steps, reverse=True)
    assert steps[3] > steps[0] / 8
    assert summing(runner(accelerator, 1), 4096) == 0
    assert summing(runner(accelerator, 8), 4096) > summing(runner(accelerator, 8), 1) > 0


def test_kv_cache_of_half_the_width_is_read_in_half_the_time() -> None:
    empty, wide, narrow = (
        step_time(runner("h200", 4, kv_bytes=size), kv_tokens=tokens)
        for size, tokens in ((2, 0), (2, 500_000), (1, 500_000))
    )
    assert narrow - empty == pytest.approx((wide - empty) / 2)


def test_a_draft_pays_while_few_requests_are_in_flight() -> None:
    gains = [
        steady_state(runner("h200", 8, draft=EAGLE), load, prompt=1024, output=1024).tokens_per_second
        / steady_state(runner("h200", 8), load, prompt=1024, output=1024).tokens_per_second
        for load in (1, 8, 32, 64, 128)
    ]
    assert gains == sorted(gains, reverse=True)
    assert gains[0] > 1.4
    assert gains[-1] < 0.9


def test_the_first_token_of_a_longer_prompt_comes_later() -> None:
    engine = runner("h200", 8)
    assert 0.03 < first_token(engine, 1024) < first_token(engine, 8192) < 8 * first_token(engine, 1024)
