"""Other accelerators for engines that go on serving the same release: read from their units, told, and carried out together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from barewind.release.host_part import cards_change, read_cards, show_cards
from barewind.release.unit import engine_unit
from barewind.spec.site import engines_of
from tests.support.factories import engine_spec, plan
from tests.support.shell import Shell


@pytest.mark.parametrize(
    ("keys", "cards"),
    [
        ({}, "all"),
        ({"replicas": 2}, "all"),
        ({"accelerators": [4, 5, 6, 7]}, "4,5,6,7"),
        ({"accelerators": [4, 5, 6, 7], "replicas": 2}, "4,5,6,7"),
        ({"accelerators": [0, 3], "engine": "sglang", "speculative": False}, "0,3"),
    ],
)
def test_a_unit_tells_which_accelerators_its_engine_uses(
    shell: Shell, tmp_path: Path, keys: dict[str, Any], cards: str
) -> None:
    for spec in engines_of(engine_spec(**keys)):
        file = tmp_path / "barewind-engine.service"
        file.write_text(engine_unit(plan(spec)))
        assert read_cards(shell(show_cards(str(file))).stdout.splitlines()) == cards


def test_a_host_without_a_unit_has_none_that_names_some(shell: Shell, tmp_path: Path) -> None:
    assert read_cards(shell(show_cards(str(tmp_path / "none"))).stdout.splitlines()) == "all"
    assert read_cards(["garbled"]) == "all"


@pytest.mark.parametrize(
    ("engines", "keys", "reasons"),
    [
        (["all"], {}, []),
        (["0,1,2,3"], {"accelerators": [0, 1, 2, 3]}, []),
        (["0,1,2,3"], {"accelerators": [3, 2, 1, 0]}, []),  # divided by sockets, whatever the order
        (["0,1,2,3"], {"accelerators": [4, 5, 6, 7]}, ["accelerators 0,1,2,3 -> 4,5,6,7"]),
        (["all"], {"accelerators": list(range(8)), "replicas": 2}, []),
        (["all"], {"accelerators": [4, 5, 6, 7]}, ["accelerators all -> 4,5,6,7"]),
        (["4,5,6,7"], {}, ["accelerators 4,5,6,7 -> all"]),
        (["0,1", "0,1"], {"accelerators": [2, 3], "replicas": 2}, ["accelerators 0,1 -> 2,3"]),
        (["2,3", "0,1"], {"accelerators": [2, 3], "replicas": 2}, ["accelerators 2,3 and 0,1 -> 2,3"]),
        (["down 0,1"], {"accelerators": [2, 3]}, []),  # it starts on the new ones anyway
        (["2,3", "down 0,1"], {"accelerators": [2, 3], "replicas": 2}, []),
        ([], {"accelerators": [2, 3]}, []),
    ],
)
def test_why_engines_must_leave_service(engines: list[str], keys: dict[str, Any], reasons: list[str]) -> None:
    facts = [{"active": not cards.startswith("down "), "cards": cards.removeprefix("down ")} for cards in engines]
    assert cards_change(facts, engine_spec(**keys)) == reasons
