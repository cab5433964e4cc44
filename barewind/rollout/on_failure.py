"""What becomes of hosts that a run had in hand when it failed, and in which words. Pure: what happened in, steps out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from barewind.balancer.commands import Rotation
from barewind.balancer.drain import Stage

OnFailure = Literal["hold", "rollback", "rollback_group"]

# undo drain: its drain had not ended, and it was not touched. drain: on every balancer. undrain: if it passes its gate.
# rollback: to the release that it served before.
Action = Literal["undo drain", "drain", "undrain", "rollback"]

_PROGRESS: Mapping[Stage, str] = {"draining": "draining, not touched", "drained": "drained", "undrained": "done"}


@dataclass(frozen=True)
class EngineInHand:
    """An engine that the run had begun to drain."""

    engine: str
    group: str
    stage: Stage
    failed: bool
    changes: bool  # its release was to change
    on_failure: OnFailure = "hold"
    in_maintenance: bool = False  # nobody waits for it

    @property
    def progress(self) -> str:
        """How far the run had come with it, in a few words."""
        return "failed" if self.failed else _PROGRESS[self.stage]


@dataclass(frozen=True)
class Step:
    """One thing to do now."""

    engine: str
    action: Action


def steps(hosts: Sequence[EngineInHand], *, interrupted: bool) -> list[Step]:
    """What to do, in this order. After Ctrl-C nothing that takes long: who pressed it waits.

    What was not touched is undrained first, and what failed is drained; then come those that stood beside it in their batch.
    """
    undo = [Step(host.engine, "undo drain") for host in hosts if host.stage == "draining" and not host.in_maintenance]
    touched = [host for host in hosts if host.stage != "draining" and (host.failed or not host.in_maintenance)]
    failed = [host for host in touched if host.failed]
    drain = [Step(host.engine, "drain") for host in failed]
    if interrupted:
        return undo + drain
    groups = {host.group for host in failed if host.on_failure == "rollback_group"}
    rollback = [host for host in failed if host.changes and (host.on_failure != "hold" or host.group in groups)]
    rollback += [host for host in touched if not host.failed and host.changes and host.group in groups]
    undrain = [host for host in touched if host.stage == "drained" and not host.failed and host not in rollback]
    return [
        *undo,
        *drain,
        *(Step(host.engine, "undrain") for host in undrain),
        *(Step(host.engine, "rollback") for host in rollback),
    ]


def outcome(action: Action, before: str, release: str = "") -> str:
    """What became of a host, in a few words, once an action has succeeded; `before` are the words of until then."""
    if action == "rollback":
        return f"{before.split(',')[0]}, rolled back to {release}"
    return {"undo drain": "undrained, not touched", "drain": "failed, drained", "undrain": "undrained as it is"}[action]


def in_rotation(rotations: Mapping[str, Rotation] | None, engine: str) -> str:
    """What balancers do with an engine, in a few words; None: they could not be asked."""
    if rotations is None:
        return "a balancer does not answer"
    states = {
        name: rotation.servers[engine].state.lower()
        for name, rotation in rotations.items()
        if engine in rotation.servers
    }
    return ", ".join(f"{state} on {name}" for name, state in states.items()) or "no"
