"""Engines restarted with what they run: which, and what each must show afterwards."""

from __future__ import annotations

from collections.abc import Mapping

from barewind.gate.plan import Gate
from barewind.rollout.batches import Batch
from barewind.tasks.run import engines_of_run, fleet, once, running
from barewind.tasks.steps import batches, gate, release


@once
def plan() -> tuple[tuple[Batch, ...], Mapping[str, Gate]]:
    """The batches of every engine host of the run, and the gates of what they run, planned or not.

    Raises:
        PyinfraError: on a host no engine runs, a balancer does not answer, or the service would end.
    """
    gates = gate.of_now(engines_of_run())
    hosts = batches.plan(lambda name: ["restart"] if name in gates else [], running, canaries=False)
    return hosts.batches, gates


@once
def weights() -> dict[str, tuple[str, ...]]:
    """The directories of weights that each engine of the run loads, by its name: those of what it runs, planned or not."""
    return {name: _weights(name) for name in engines_of_run()}


def _weights(name: str) -> tuple[str, ...]:
    planned, runs = fleet().plans[name], str(running(name))
    history = None if runs == planned.release else release.history_of(name)
    record = history["records"].get(runs) if history is not None else None
    return planned.directories if record is None else record.weights
