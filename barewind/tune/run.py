"""A tuning: each candidate started and measured in turn, and the engine put back to its release, however it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

import gevent

from barewind.bench import run as benches
from barewind.bench.document import Bench
from barewind.bench.plan import Course
from barewind.bench.run import LOOK, Fleet
from barewind.bench.target import Target
from barewind.errors import BarewindError
from barewind.gate import explain
from barewind.gate import plan as gates
from barewind.gate.facts import read, sections
from barewind.gate.plan import Gate, Observation, Progress
from barewind.hosts.poll import Poll
from barewind.hosts.script import FactProcessError, script
from barewind.lease.commands import RENEWAL
from barewind.lease.operations import Lease
from barewind.plan.engine import EnginePlan
from barewind.tune import commands
from barewind.tune.document import Attempt
from barewind.tune.plan import Candidate

_PATIENCE = 25  # seconds that a host waits for the ready path before it answers
_OBSERVATION = 900  # seconds for an observation: every probe may take its time
_STOP = 180  # seconds beyond what the engine may take to stop
_AGAIN = 5.0  # seconds between tries to put an engine back that cannot be reached
_BACK = 300  # seconds for them: the host does it by itself before

Told = Callable[[str], None]


def attempts(
    fleet: Fleet, plan: EnginePlan, candidates: tuple[Candidate, ...], course: Course, lease: Lease, told: Told
) -> list[Attempt]:
    """What becomes of each candidate; the engine runs its release again when this returns, or raises.

    Raises:
        BarewindError: the host does not answer, the lease is lost, or what is planned, the first, was not measured.
    """
    done: list[Attempt] = []
    with _put_back(fleet, plan, told):
        for number, candidate in enumerate(candidates, 1):
            lease.check()
            told(f"{plan.name}: candidate {number} of {len(candidates)}: {candidate.name}")
            done.append(_attempt(fleet, plan, candidate, course, lease, told))
            if done[0].failed is not None:
                raise BarewindError(f"{plan.name}: {done[0].failed}; so there is nothing to compare others with")
    return done


@contextmanager
def _put_back(fleet: Fleet, plan: EnginePlan, told: Told) -> Iterator[None]:
    """Have the host watch over the block, and the engine run its release behind it."""
    host = plan.spec.host
    _ask(fleet, host, commands.begin(plan), LOOK)
    beats = gevent.spawn(_beat, fleet, host)
    try:
        yield
    finally:
        told(f"{plan.name}: goes back to release {plan.release}")
        _back(fleet, plan)
        beats.kill()
        problem = _passes(fleet, gates.of(plan), plan)
        if problem:
            told(f"{plan.name}: runs the unit of release {plan.release} again, and does not answer: {problem}")
        else:
            told(f"{plan.name}: serves release {plan.release} again; it is drained as before: tasks/undrain.py")


def _back(fleet: Fleet, plan: EnginePlan) -> None:
    """Restart the engine with its release; try again while the host cannot be reached.

    Raises:
        BarewindError: it could not be reached. The host does the same by itself.
    """
    limit = plan.spec.shutdown_timeout + _STOP
    poll = Poll(_AGAIN, _BACK)
    while True:
        problem = fleet.hosts.ask({plan.spec.host: commands.put_back(plan)}, timeout=limit)[plan.spec.host][1]
        if not problem:
            break
        if not poll.pause():
            raise BarewindError(
                f"{plan.name}: its host cannot be reached ({problem}); it puts the engine back to release {plan.release} by "
                f"itself {commands.PATIENCE} s after it has last heard of this run; look with: barewind status INVENTORY"
            )
    fleet.hosts.ask({plan.spec.host: commands.end()}, timeout=LOOK)


def _beat(fleet: Fleet, host: str) -> None:
    """Tell the host's watch that this run is there, again and again."""
    poll = Poll(RENEWAL)
    while poll.pause():
        with suppress(BarewindError):
            fleet.hosts.ask({host: commands.heard()}, timeout=LOOK)


def _attempt(fleet: Fleet, plan: EnginePlan, candidate: Candidate, course: Course, lease: Lease, told: Told) -> Attempt:
    bench: Bench | None = None
    failed: str | None = None
    # Files of the release, secrets among them, are those of what serves.
    own = replace(candidate.plan, release=plan.release)
    if candidate.changes:
        limit = plan.spec.shutdown_timeout + _STOP
        _ask(fleet, plan.spec.host, commands.attempt(plan, candidate.plan), limit)
    failed = _passes(fleet, replace(gates.of(own), release=str(candidate.plan.release)), plan) or None
    if failed is None:
        try:
            target = Target(plan.name, (own,))
            bench = benches.measure(fleet, target, course, lease, told)
            bench, failed = bench.model_copy(update={"release": candidate.plan.release}), bench.failed
        except BarewindError as error:
            lease.check()
            failed = str(error)
    if failed is not None and candidate.changes:
        told(f"{plan.name}: {candidate.name}: {failed}")
    return Attempt(
        name=candidate.name,
        changes=dict(candidate.changes),
        release=str(candidate.plan.release),
        estimated=candidate.estimated,
        bench=bench,
        failed=failed,
    )


def _passes(fleet: Fleet, gate: Gate, plan: EnginePlan) -> str:
    """Wait until an engine passes its gate; why it does not, or ""."""
    progress, poll = Progress(), Poll(2.0, plan.spec.startup_timeout)
    while True:
        observation = _observed(fleet, gate, plan.spec.host)
        verdict = gates.judge(gate, observation, progress, waited=poll.waited)
        if verdict.outcome == "passed":
            return ""
        if verdict.outcome == "failed":
            return "; ".join(filter(None, [verdict.message, *verdict.findings, _reason(gate, observation)]))
        poll.pause()


def _reason(gate: Gate, observation: Observation | None) -> str:
    """What the engine's log tells of why it does not serve."""
    if observation is None:
        return ""
    log = explain.of_release(observation.log, gate.release)
    reason = explain.explain(log, gate.engine, killed=observation.killed)
    return str(reason or explain.last_error(explain.to_its_end(log), gate.engine) or "")


def _observed(fleet: Fleet, gate: Gate, host: str) -> Observation | None:
    look = script(**sections(gate, patience=_PATIENCE, log=True, events=False, quick=False))
    output, problem = fleet.hosts.ask({host: look}, timeout=_OBSERVATION)[host]
    try:
        return None if problem else read(output.splitlines())
    except FactProcessError:
        return None


def _ask(fleet: Fleet, host: str, command: str, limit: int) -> str:
    output, problem = fleet.hosts.ask({host: command}, timeout=limit)[host]
    if problem:
        raise BarewindError(f"{host}: {problem}")
    return output
