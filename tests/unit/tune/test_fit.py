"""Constants that are fitted to measurements: those that made them are found again."""

from __future__ import annotations

import pytest

from barewind import catalog
from barewind.speed.steady import steady_state
from barewind.speed.step import Runner
from barewind.tune.fit import Fitted, Sample, fit
from tests.support.factories import MEDIUM


def samples(
    layer_us: float, prompt_share: float, loads: tuple[int, ...] = (1, 8, 32), scatter: float = 0.0
) -> list[Sample]:
    """What an accelerator with these constants would show."""
    speed = catalog.speeds()["mi300x"]
    own = speed.model_copy(update={"layer_us": layer_us, "prompt_share": prompt_share})
    made = []
    for number, load in enumerate(loads):
        steady = steady_state(Runner(catalog.models()[MEDIUM].shape, own, 8), load, prompt=1024, output=1024)
        measured = steady.per_token * 1000 * (1 + scatter * (-1) ** number)
        made.append(Sample(Runner(catalog.models()[MEDIUM].shape, speed, 8), load, 1024, 1024, measured))
    return made


@pytest.mark.parametrize(("layer_us", "prompt_share"), [(129, 0.271), (90, 0.271), (70, 0.45), (200, 0.15)])
def test_the_constants_that_made_the_measurements_are_found(layer_us: float, prompt_share: float) -> None:
    fitted = fit("mi300x", samples(layer_us, prompt_share))
    assert isinstance(fitted, Fitted)
    assert fitted.layer_us == pytest.approx(layer_us, rel=0.02)
    assert fitted.prompt_share == pytest.approx(prompt_share, rel=0.02)
    assert fitted.error_percent < 1
    assert fitted.before >= fitted.error_percent


def test_the_error_that_is_left_is_that_of_the_measurements() -> None:
    fitted = fit("mi300x", samples(90, 0.3, (1, 4, 16, 64), scatter=0.05))
    assert isinstance(fitted, Fitted)
    assert 2 <= fitted.error_percent <= 8
    assert fitted.layer_us == pytest.approx(90, rel=0.25)


@pytest.mark.parametrize("loads", [(), (1, 8), (8, 8, 8)])
def test_too_few_measurements_tell_nothing(loads: tuple[int, ...]) -> None:
    assert "3 measurements of two loads are the least" in str(fit("mi300x", samples(90, 0.3, loads)))


def test_of_an_accelerator_that_nothing_is_known_of_two_constants_are_not_enough() -> None:
    assert fit("cpu", []) == "nothing is known of how fast cpu is, so that two constants are not enough"
