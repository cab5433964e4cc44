"""What becomes of hosts that a run had in hand when it failed. Pure: what happened in, steps out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Stage = Literal["leaving", "out", "back"]
OnFailure = Literal["hold", "rollback", "rollback_group"]

# stay: it was about to leave and has not been touched. hold: out of every balancer. finish: return it if it passes its gate.
# restore: back to the release that it served before.
What = Literal["stay", "hold", "finish", "restore"]


@dataclass(frozen=True)
class Moved:
    """A host that this run had begun to move."""

    host: str
    group: str
    stage: Stage
    failed: bool
    changes: bool  # its release was to change
    on_failure: OnFailure = "hold"
    held: bool = False  # drained on purpose: nobody waits for it


@dataclass(frozen=True)
class Step:
    """One thing to do now."""

    host: str
    what: What


def steps(moved: Sequence[Moved], *, interrupted: bool) -> list[Step]:
    """What to do, in this order. After Ctrl-C nothing that takes long: who pressed it waits.

    What was not touched returns first, and what failed leaves; then those that stood beside it in their batch.
    """
    stay = [Step(one.host, "stay") for one in moved if one.stage == "leaving" and not one.held]
    touched = [one for one in moved if one.stage != "leaving" and not (one.held and not one.failed)]
    failed = [one for one in touched if one.failed]
    if interrupted:
        return stay + [Step(one.host, "hold") for one in failed]
    groups = {one.group for one in failed if one.on_failure == "rollback_group"}
    back = [one for one in failed if one.changes and (one.on_failure != "hold" or one.group in groups)]
    back += [one for one in touched if not one.failed and one.changes and one.group in groups]
    finish = [one for one in touched if one.stage == "out" and not one.failed and one not in back]
    return [
        *stay,
        *(Step(one.host, "hold") for one in failed),
        *(Step(one.host, "finish") for one in finish),
        *(Step(one.host, "restore") for one in back),
    ]
