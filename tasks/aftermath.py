"""The end of a run that failed: hosts it had in hand are brought to a state that is meant, and what is where is said."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from gevent.pool import Pool
from pyinfra import logger
from pyinfra.api import Host, State
from pyinfra.api.exceptions import PyinfraError
from pyinfra.context import ctx_state

from barewind import aftermath, pyinfra_hooks
from barewind.aftermath import Moved, Step
from barewind.draining import Drain
from barewind.errors import BarewindError
from barewind.operations.fleet_lock import LockLost
from barewind.operations.restore import gated, restore
from barewind.operations.restore import running as release_of
from barewind.operations.rotation import empty, hold, look, moved, put_back, stay, take_out
from barewind.rollout import Batch
from tasks import fleet_lock
from tasks.fleet import fleet
from tasks.survey import survey

_KILL = 10  # seconds
_DONE = {
    "leaving": "was about to leave, not touched",
    "out": "taken out of the balancers",
    "back": "done",
}


def watch(batches: Sequence[Batch], groups: Mapping[str, str], release: Callable[[str], str | None]) -> None:
    """Have a run with batches end well though it fails; `release` is what each host is to serve after it."""
    if not batches:
        return
    state = ctx_state.get()

    def end(error: BaseException | None) -> None:
        if error is not None:
            if state.pool is not None:
                state.pool.kill(timeout=_KILL)  # after Ctrl-C, what operations began goes on beside us
            with ctx_state.use(state):
                _End(state, batches, groups, release).come(interrupted=not _failing(error))

    pyinfra_hooks.at_end(end)


def _failing(error: BaseException) -> bool:
    """Whether something failed; else somebody pressed Ctrl-C, or took the lock of the fleet away."""
    return isinstance(error, PyinfraError) and not isinstance(error, LockLost)


class _End:
    def __init__(
        self,
        state: State,
        batches: Sequence[Batch],
        groups: Mapping[str, str],
        release: Callable[[str], str | None],
    ) -> None:
        self._state = state
        self._groups = groups
        self._release = release
        self._held = {name for batch in batches for name in batch.held}
        self._order = [name for batch in batches for name in batch.hosts]
        self._balancers = sorted(fleet().site.balancers)
        self._became: dict[str, str] = {}

    def come(self, *, interrupted: bool) -> None:
        """Do what is to be done while the lock of the fleet is ours, then say what is where."""
        found = self._moved()
        failed = {one.name for one in self._state.failed_hosts}
        self._became = {one.host: "failed" if one.host in failed else _DONE[one.stage] for one in found}
        try:
            self._do(aftermath.steps(found, interrupted=interrupted), failed)
        except LockLost as error:
            logger.error(str(error))
        self._say(failed)

    def _do(self, steps: Sequence[Step], failed: set[str]) -> None:
        stuck = ""
        for step in steps:
            fleet_lock.check()
            one = self._state.inventory.get_host(step.host)
            if step.what == "restore" and stuck and step.host not in failed:
                self._became[step.host] += f"; does not go back, since {stuck} could not"  # it serves: leave it
                continue
            try:
                self._take(step, one)
            except BarewindError as error:
                stuck = step.host if step.what == "restore" else stuck
                self._became[step.host] = f"{self._became[step.host]}; {step.what}: {error}"
                logger.error(f"{one.print_prefix}{step.host}: {step.what}: {error}")

    def _moved(self) -> list[Moved]:
        found = []
        for name in self._order:
            one = self._state.inventory.get_host(name)
            if one not in moved:
                continue
            found.append(
                Moved(
                    host=name,
                    group=self._groups[name],
                    stage=moved[one],
                    failed=one in self._state.failed_hosts,
                    changes=_before(name) != self._release(name),
                    on_failure=fleet().site.engines[name].on_failure,
                    held=name in self._held,
                )
            )
        return found

    def _take(self, step: Step, one: Host) -> None:
        became = self._became
        if step.what == "stay":
            stay(self._state, one, step.host, self._balancers)
            became[step.host] = "put back, not touched"
        elif step.what == "hold":
            hold(self._state, one, step.host, self._balancers)
            became[step.host] = "failed, out of the balancers"
        elif step.what == "finish":
            gated(self._state, one, fleet().plans[step.host], why=fleet().site.reason)
            self._return(one)
            became[step.host] = "returned as it is"
        else:
            self._empty(one)
            fleet_lock.check()  # requests may have taken their time
            release = restore(self._state, one, fleet().plans[step.host], self._release(step.host) or "")
            if step.host not in self._held:
                self._return(one)
            became[step.host] = f"{became[step.host].split(',')[0]}, back to {release}"

    def _empty(self, one: Host) -> None:
        """Nothing is cut that need not be, but a host that failed does not return because requests on it do not end."""
        spec = fleet().site.engines[one.name]
        how = Drain(spec.drain_timeout, spec.drain_policy, (one.name,), spec.allow_downtime, spec.shutdown_timeout)
        if one in self._state.failed_hosts:
            how = how if spec.drain_policy == "wait" else replace(how, policy="proceed")
            empty(self._state, one, one.name, self._balancers, how)
        elif moved[one] == "back" and not take_out(self._state, one, one.name, self._balancers, how):
            raise BarewindError("does not leave the balancers, see above")

    def _return(self, one: Host) -> None:
        fleet_lock.check()  # a gate takes minutes
        if not put_back(self._state, one, one.name, self._balancers):
            raise BarewindError("does not return to the balancers, see above")

    def _say(self, failed: set[str]) -> None:
        from rich.console import Console  # slow to import, and rarely needed
        from rich.table import Table

        names = [name for name in fleet().site.engines if name in survey()]
        hosts = [self._state.inventory.get_host(name) for name in names]
        releases = Pool(len(hosts) or 1).map(lambda one: release_of(self._state, one), hosts)
        rotation = self._rotation()
        table = Table("host", "release", "in rotation", "this run", title="What is where")
        for name, release in zip(names, releases, strict=True):
            became = self._became.get(name) or ("failed" if name in failed else "not touched")
            table.add_row(name, release, rotation(name), became)
        console = Console(stderr=True)
        if not console.is_terminal:
            console.width = max(console.width, 160)  # columns: a log has no screen to fit
        console.print(table)

    def _rotation(self) -> Callable[[str], str]:
        try:
            rotations = look(self._state, self._balancers)
        except BarewindError as error:
            logger.error(str(error))
            return lambda name: "a balancer does not answer"  # noqa: ARG005 - the same for every host

        def said(name: str) -> str:
            states = {lb: found.servers[name].state.lower() for lb, found in rotations.items() if name in found.servers}
            return ", ".join(f"{state} on {lb}" for lb, state in states.items()) or "no"

        return said


def _before(name: str) -> str | None:
    facts = survey()[name].facts
    return None if facts is None else facts["engine"]["release"]
