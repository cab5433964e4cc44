"""Which rungs a bench has, when it ends, and what is wrong with what was asked for."""

from __future__ import annotations

from typing import Any

import pytest

from barewind.bench.plan import PRESETS, course, enough, problems, shares
from tests.support.benches import rung
from tests.support.factories import lab_spec, plan


def test_the_recipe_is_what_is_published() -> None:
    recipe = course("recipe")
    assert (recipe.ladder, recipe.prompt, recipe.output) == ((32,), 1024, 1024)
    assert recipe.requests_of(32) == 100


def test_what_is_asked_for_stands_instead_of_the_presets_own() -> None:
    wanted = course("ladder", ladder=(2, 4), prompt=64, output=16, requests=3, tpot_limit=20)
    assert (wanted.ladder, wanted.prompt, wanted.output, wanted.tpot_limit) == ((2, 4), 64, 16, 20)
    assert [wanted.requests_of(rung) for rung in wanted.ladder] == [3, 4]
    assert [course("ladder").requests_of(rung) for rung in (1, 32)] == [4, 128]


def found(name: str = "quick", **changes: Any) -> list[str]:
    return list(problems(course(name, **changes), [plan()]))


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_are_right_for_a_host_of_the_usual_size(preset: str) -> None:
    assert found(preset) == []


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"ladder": (8, 1)}, "--ladder 8,1: each rung is to have more requests in flight"),
        ({"ladder": (1, 1)}, "--ladder 1,1: each rung"),
        ({"ladder": (0, 5000)}, "--ladder 0,5000: 1 to 4096 requests in flight"),
        ({"ladder": tuple(range(1, 18))}, "17 rungs; 16 at most"),
        ({"requests": 200_000}, "a rung of 200000 requests; 100000 at most"),
        ({"prompt": 262_144}, "are more than its context of 262144; give less with --input and --output"),
    ],
)
def test_what_cannot_be_is_told(changes: dict[str, Any], problem: str) -> None:
    (told,) = found(**changes)
    assert problem in told


def test_everything_that_is_wrong_is_told_at_once() -> None:
    small = plan(lab_spec())
    wrong = list(problems(course("prompts", ladder=(4, 1)), [small]))
    assert [line.split(":")[0] for line in wrong] == ["--ladder 4,1", "engine1"]


@pytest.mark.parametrize(("in_flight", "count", "each"), [(8, 4, [2, 2, 2, 2]), (6, 4, [2, 2, 1, 1]), (1, 2, [1, 0])])
def test_requests_are_spread_evenly(in_flight: int, count: int, each: list[int]) -> None:
    assert shares(in_flight, count) == each


@pytest.mark.parametrize(
    ("goodputs", "told"),
    [
        ([100], ""),
        ([100, 180], ""),
        ([100, 99], ""),  # the scatter of a measurement
        ([100, 180, 170], "goodput falls: 170 tokens/s with 4 in flight, 180 with 2"),
        ([100, 180, 178, 176], ""),
    ],
)
def test_it_ends_when_goodput_falls(goodputs: list[float], told: str) -> None:
    assert enough([rung(2**place, goodput=goodput) for place, goodput in enumerate(goodputs)]) == told
