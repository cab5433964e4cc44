"""Engines begun anew with what they run: which, and what each must show afterwards."""

from __future__ import annotations

from collections.abc import Mapping

from barewind.gates import Gate
from barewind.rollout import Batch
from tasks import gate, rollout
from tasks.fleet import fleet
from tasks.once import once
from tasks.survey import survey


@once
def plan() -> tuple[tuple[Batch, ...], Mapping[str, Gate]]:
    """The batches of every engine host of the run, and the gates of what they run, planned or not.

    Raises:
        PyinfraError: on a host no engine runs, a balancer does not answer, or the service would end.
    """
    gates = gate.of_now(name for name in fleet().site.engines if name in survey())
    hosts = rollout.plan_for(lambda name: ["restart"] if name in gates else [], rollout.running, watched=False)
    return hosts.batches, gates
