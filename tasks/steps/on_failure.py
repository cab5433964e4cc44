"""The end of a run that failed: the hosts that it had in hand are seen to, and a table says what is where."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from pyinfra.api.exceptions import PyinfraError
from pyinfra.context import ctx_state

from barewind import pyinfra_hooks
from barewind.lease.operations import LeaseLost
from barewind.output import tables
from barewind.rollout.batches import Batch
from barewind.rollout.operations.on_failure import FailedRun, Intent
from barewind.tasks.run import balancers, engines_of_run, facts_of, fleet
from barewind.tasks.steps import lease

_KILL = 10  # seconds


def prepare(batches: Sequence[Batch], groups: Mapping[str, str], release: Callable[[str], str | None]) -> None:
    """Have a run with batches end well though it fails.

    + groups: of every engine, by name
    + release: of an engine's name: what it is to serve after the run
    """
    if not batches:
        return
    state = ctx_state.get()

    def end(error: BaseException | None) -> None:
        if error is None:
            return
        if state.pool is not None:
            state.pool.kill(timeout=_KILL)  # after Ctrl-C, what operations began goes on beside us
        with ctx_state.use(state):
            intents = {name: _intent(name, batch, groups[name], release) for batch in batches for name in batch.hosts}
            failed = FailedRun(state, balancers(), intents, check_lease=lease.check, why=fleet().site.reason)
            failed.end(interrupted=not _failing(error))
            columns = ("host", "release", "in rotation", "this run")
            tables.show("What is where", columns, failed.rows({name: fleet().plans[name] for name in engines_of_run()}))

    pyinfra_hooks.at_end(end)


def _failing(error: BaseException) -> bool:
    """Whether something failed; else somebody pressed Ctrl-C, or took the lease away."""
    return isinstance(error, PyinfraError) and not isinstance(error, LeaseLost)


def _intent(name: str, batch: Batch, group: str, release: Callable[[str], str | None]) -> Intent:
    known, plan = facts_of(name), fleet().plans[name]
    return Intent(
        plan=plan,
        batch=batch.number,
        group=group,
        before=None
        if known is None or known.facts is None
        else known.facts["engines"][plan.spec.replica or 0]["release"],
        after=release(name),
        in_maintenance=name in batch.in_maintenance,
    )
