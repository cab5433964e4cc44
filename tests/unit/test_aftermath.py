"""What becomes of the hosts that a run had in hand when it failed."""

from __future__ import annotations

from typing import Any

import pytest

from barewind.aftermath import Moved, Stage, steps


def moved(host: str, stage: Stage, *, failed: bool = False, **values: Any) -> Moved:
    return Moved(**{"host": host, "group": "hopper", "stage": stage, "failed": failed, "changes": True} | values)


GROUP: dict[str, Any] = {"on_failure": "rollback_group"}
HOST: dict[str, Any] = {"on_failure": "rollback"}

CASES: list[tuple[str, list[Moved], str]] = [
    ("nothing moved", [], ""),
    ("the failed host stays out", [moved("a", "back"), moved("b", "out", failed=True)], "b:hold"),
    ("who was about to leave stays", [moved("a", "leaving"), moved("b", "out", failed=True)], "a:stay b:hold"),
    ("who stood beside it returns past its gate", [moved("a", "out"), moved("b", "out", failed=True)], "b:hold a:finish"),
    ("a canary leaves again", [moved("a", "back", failed=True)], "a:hold"),
    ("back to what it was", [moved("a", "back", **HOST), moved("b", "out", failed=True, **HOST)], "b:hold b:restore"),
    (
        "the whole group back, one by one, the failed host first",
        [moved("a", "back", **GROUP), moved("b", "out", **GROUP), moved("c", "out", failed=True, **GROUP)],
        "c:hold c:restore a:restore b:restore",
    ),
    (
        "another group keeps what it has",
        [moved("a", "back", group="mi300x", **GROUP), moved("b", "out", failed=True, **GROUP)],
        "b:hold b:restore",
    ),
    ("a release that did not change is none to go back from", [moved("a", "out", failed=True, changes=False, **HOST)], "a:hold"),
    ("what is drained on purpose stays so", [moved("a", "out", held=True), moved("b", "out", failed=True)], "b:hold"),
    ("nobody failed: a fact could not be read", [moved("a", "back"), moved("b", "out")], "b:finish"),
]  # fmt: skip


@pytest.mark.parametrize(("found", "expected"), [one[1:] for one in CASES], ids=[one[0] for one in CASES])
def test_steps(found: list[Moved], expected: str) -> None:
    assert " ".join(f"{one.host}:{one.what}" for one in steps(found, interrupted=False)) == expected


def test_after_ctrl_c_nothing_takes_long() -> None:
    found = [moved("a", "leaving"), moved("b", "out"), moved("c", "out", failed=True, **GROUP)]
    assert [(one.host, one.what) for one in steps(found, interrupted=True)] == [("a", "stay"), ("c", "hold")]
