"""Engines restarted with what they run: which, and what each must show afterwards."""

from __future__ import annotations

from collections.abc import Mapping

from barewind.gate.plan import Gate
from barewind.rollout.batches import Batch
from barewind.tasks.run import engines_of_run, once, running
from barewind.tasks.steps import batches, gate


@once
def plan() -> tuple[tuple[Batch, ...], Mapping[str, Gate]]:
    """The batches of every engine host of the run, and the gates of what they run, planned or not.

    Raises:
        PyinfraError: on a host no engine runs, a balancer does not answer, or the service would end.
    """
    gates = gate.of_now(engines_of_run())
    hosts = batches.plan(lambda name: ["restart"] if name in gates else [], running, canaries=False)
    return hosts.batches, gates
