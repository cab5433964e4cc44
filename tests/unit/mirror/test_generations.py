"""Which images a mirror keeps."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from barewind.mirror import generations
from barewind.mirror.generations import decide, fleet_name

NOW = datetime(2026, 11, 22, 7, 4, 2, tzinfo=UTC)


def at(day: int, fleet: str = "prod", digest: str = "0" * 12) -> str:
    return f"{fleet}.202611{day:02}T000000Z.{digest}"


A, B, C, D = (("r", f"sha256:{letter * 64}") for letter in "abcd")


def test_what_is_wanted_gets_tags_of_a_new_generation() -> None:
    decision = decide({}, frozenset({A, B}), fleet="prod", keep=3, now=NOW)
    assert decision.tags == {
        A: "prod.20261122T070402Z.aaaaaaaaaaaa",
        B: "prod.20261122T070402Z.bbbbbbbbbbbb",
    }
    assert decision.forget == ()


def test_the_same_images_are_the_same_generation() -> None:
    tagged = {A: frozenset({at(1)}), B: frozenset({at(1)})}
    assert decide(tagged, frozenset({A, B}), fleet="prod", keep=3, now=NOW) == generations.Decision({}, ())


def test_one_image_that_changes_takes_the_others_along() -> None:
    """The one that stays is in use: it must not grow old."""
    tagged = {A: frozenset({at(1)}), B: frozenset({at(1)})}
    decision = decide(tagged, frozenset({A, C}), fleet="prod", keep=2, now=NOW)
    assert set(decision.tags) == {A, C}
    assert decision.forget == ()
    decision = decide(tagged, frozenset({A, C}), fleet="prod", keep=1, now=NOW)
    assert decision.forget == (B,)


def test_the_last_generations_are_kept() -> None:
    tagged = {A: frozenset({at(1)}), B: frozenset({at(2)}), C: frozenset({at(3)})}
    assert decide(tagged, frozenset({D}), fleet="prod", keep=3, now=NOW).forget == (A,)
    assert decide(tagged, frozenset({D}), fleet="prod", keep=2, now=NOW).forget == (A, B)
    assert decide(tagged, frozenset({C}), fleet="prod", keep=3, now=NOW).forget == ()


def test_going_back_makes_an_old_image_young_again() -> None:
    tagged = {A: frozenset({at(1)}), B: frozenset({at(2)}), C: frozenset({at(3)})}
    decision = decide(tagged, frozenset({A}), fleet="prod", keep=2, now=NOW)
    assert decision.forget == (B,)


@pytest.mark.parametrize("foreign", ["v1.0", at(1, "staging"), "prod.x.y", "prod.20261101T000000Z.zz"])
def test_what_others_tagged_stays(foreign: str) -> None:
    tagged = {A: frozenset({at(1), foreign}), B: frozenset({at(2)}), C: frozenset({foreign})}
    assert decide(tagged, frozenset({D}), fleet="prod", keep=1, now=NOW).forget == (B,)


def test_a_clock_that_went_back_makes_no_generation_old() -> None:
    tagged = {A: frozenset({"prod.20270101T000000Z.aaaaaaaaaaaa"})}
    decision = decide(tagged, frozenset({B}), fleet="prod", keep=1, now=NOW)
    assert B in decision.tags
    assert B not in decision.forget


@pytest.mark.parametrize(
    ("inventory", "name"),
    [
        ("inventory/prod.py", "prod"),
        ("prod", "prod"),
        ("my site.v2.py", "my-site-v2"),
        ("...py", "fleet"),
        ("@x/", "x"),
    ],
)
def test_the_name_of_a_fleet_is_one_a_tag_may_have(inventory: str, name: str) -> None:
    assert fleet_name(inventory) == name
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,60}", fleet_name(inventory))
