"""The end of a run that failed: every host that it had in hand is brought to a state that is meant."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from pyinfra import logger
from pyinfra.api import Host, State

from barewind.balancer.commands import Rotation
from barewind.balancer.drain import Drain
from barewind.balancer.operations.balancers import Balancers
from barewind.errors import BarewindError
from barewind.hosts.ask import ask
from barewind.lease.operations import LeaseLost
from barewind.plan.engine import EnginePlan
from barewind.rollout import on_failure
from barewind.rollout.on_failure import EngineInHand, Step
from barewind.rollout.operations.rollback import is_serving, pass_gate, roll_back, running_release

Row = tuple[str, str, str, str]  # host, release, what balancers do with it, what became of it in this run


@dataclass(frozen=True)
class Intent:
    """What a run was to do with an engine of its batches; `batch` is the number of its batch."""

    plan: EnginePlan
    batch: int
    group: str
    before: str | None  # the release that it had before the run
    after: str | None  # and was to serve after it
    in_maintenance: bool


class FailedRun:
    """A run that has failed or was interrupted, while its hosts are still connected."""

    def __init__(
        self,
        state: State,
        balancers: Balancers,
        intents: Mapping[str, Intent],
        *,
        check_lease: Callable[[], None],
        why: str | None,
    ) -> None:
        """Nothing is done yet.

        + intents: by engine, in the order of the batches
        + check_lease: raises LeaseLost when the lease is not the run's any more
        + why: the reason of the run, for the histories of hosts
        """
        self._state = state
        self._balancers = balancers
        self._intents = intents
        self._check_lease = check_lease
        self._why = why
        self._failed = {host.name for host in state.failed_hosts}
        self._failed_engines: set[str] = set()
        self._outcomes: dict[str, str] = {}

    def end(self, *, interrupted: bool) -> None:
        """Do what is to be done, for as long as the lease is the run's. What cannot be done is logged, and told by `rows`."""
        self._failed_engines = {name for host in self._failed for name in self._failed_of(host, ask_it=not interrupted)}
        in_hand = self._in_hand()
        self._outcomes = {engine.engine: engine.progress for engine in in_hand}
        try:
            self._take(on_failure.steps(in_hand, interrupted=interrupted))
        except LeaseLost as error:
            logger.error(str(error))

    def rows(self, plans: Mapping[str, EnginePlan]) -> list[Row]:
        """What is where, for each of these engines."""
        releases = ask(plans, lambda name: running_release(self._state, self._host(plans[name]), plans[name])).answers
        failed = self._failed - {self._intents[name].plan.spec.host for name in self._outcomes}
        rotations: dict[str, Rotation] | None = None
        try:
            rotations = self._balancers.look()
        except BarewindError as error:
            logger.error(str(error))
        return [
            (
                name,
                releases[name],
                on_failure.in_rotation(rotations, name),
                self._outcomes.get(name) or ("failed" if plan.spec.host in failed else "not touched"),
            )
            for name, plan in plans.items()
        ]

    def _in_hand(self) -> list[EngineInHand]:
        return [
            EngineInHand(
                engine=name,
                group=intent.group,
                stage=self._balancers.stages[name],
                failed=name in self._failed_engines,
                changes=intent.before != intent.after,
                on_failure=intent.plan.spec.on_failure,
                in_maintenance=intent.in_maintenance,
            )
            for name, intent in self._intents.items()
            if name in self._balancers.stages
        ]

    def _take(self, steps: Sequence[Step]) -> None:
        stuck = ""  # a host whose rollback failed: those of its group that serve are left to it
        for step in steps:
            self._check_lease()
            before = self._outcomes[step.engine]
            if step.action == "rollback" and stuck and step.engine not in self._failed_engines:
                self._outcomes[step.engine] = f"{before}; not rolled back, since {stuck} could not be"
                continue
            try:
                release = self._do(step)
                self._outcomes[step.engine] = on_failure.outcome(step.action, before, release)
            except BarewindError as error:
                stuck = step.engine if step.action == "rollback" else stuck
                self._outcomes[step.engine] = f"{before}; {step.action}: {error}"
                host = self._host(self._intents[step.engine].plan)
                logger.error(f"{host.print_prefix}{step.engine}: {step.action}: {error}")

    def _do(self, step: Step) -> str:
        """Take one step; the release that a rollback ended at."""
        intent = self._intents[step.engine]
        host = self._host(intent.plan)
        if step.action == "undo drain":
            self._balancers.undo_drain(step.engine)
        elif step.action == "drain":
            self._balancers.drain_at_once(step.engine)
        elif step.action == "undrain":
            pass_gate(self._state, host, intent.plan, why=self._why)
            self._undrain(host, step.engine)
        else:
            self._drain(host, intent)
            self._check_lease()  # requests may have taken their time
            release = roll_back(self._state, host, intent.plan, intent.after or "")
            if not intent.in_maintenance:
                self._undrain(host, step.engine)
            return release
        return ""

    def _drain(self, host: Host, intent: Intent) -> None:
        """Nothing is cut that need not be, but a host that failed is not left as it is because requests on it do not end."""
        name = intent.plan.name
        drain = Drain.of(intent.plan.spec, (name,))
        if name in self._failed_engines:
            drain = drain if drain.policy == "wait" else replace(drain, policy="proceed")
            self._balancers.wait_drained(host, name, drain)
        elif self._balancers.stages[name] == "undrained" and not self._balancers.drain(host, name, drain):
            raise BarewindError("cannot be drained, see above")

    def _undrain(self, host: Host, name: str) -> None:
        self._check_lease()  # a gate takes minutes
        if not self._balancers.undrain(host, name):
            raise BarewindError("cannot be undrained, see above")

    def _failed_of(self, host: str, *, ask_it: bool) -> list[str]:
        """The engines that failed with their host: those of the last batch that had come to it, and were touched.

        Of several in that batch, those that serve by their own history have not: each starts when the one before has passed its
        gate.
        """
        batches: dict[int, list[str]] = {}
        for name, intent in self._intents.items():
            if intent.plan.spec.host == host and name in {*self._balancers.stages, *self._balancers.untouched}:
                batches.setdefault(intent.batch, []).append(name)
        engines = [name for name in batches[max(batches)] if name in self._balancers.stages] if batches else []
        if len(engines) < 2 or not ask_it:
            return engines
        plans = [self._intents[name].plan for name in engines]
        failed = [plan.name for plan in plans if not is_serving(self._state, self._host(plan), plan)]
        return failed or engines

    def _host(self, plan: EnginePlan) -> Host:
        return self._state.inventory.get_host(plan.spec.host)
