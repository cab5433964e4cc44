"""The lock of the fleet, held for the length of a run: taken, renewed beside everything else, given back."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import gevent
from gevent.pool import Pool
from pyinfra.api import State
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.state import BaseStateCallback
from pyinfra.context import ctx_state

from barewind import fleet_lock
from barewind.errors import BarewindError
from barewind.fleet_lock import RENEWAL, Answer, Owner
from barewind.operations import shell

_FRESH = 5.0  # seconds for which a renewal is as good as a look
_LOOK = 30  # seconds; a host answers at once, or is busy with other things

# A command for each host, and whether to connect to hosts of this run that are not connected -> what they say.
Ask = Callable[[Mapping[str, str], bool], Mapping[str, shell.Answer]]


class LockLost(PyinfraError):
    """Another run may be at work, or somebody meant this one to end: nothing more may be done."""


class Lease:
    """The lock on a list of hosts. The first one decides between two runs that begin at the same time."""

    def __init__(self, owner: Owner, hosts: list[str], ask: Ask) -> None:
        """Nothing is taken yet; `hosts` are in the same order for every run."""
        self.lost = ""  # why it is no longer ours
        self._owner = owner
        self._hosts = hosts
        self._ask = ask
        self._runs: dict[str, str] = {}  # host -> the time since its start, as it names it
        self._renewed = _now()

    def take(self) -> None:
        """Take it everywhere, or nowhere.

        Raises:
            BarewindError: another run has it, or a host does not answer.
        """
        try:
            for part in (self._hosts[:1], self._hosts[1:]):
                self._take(part)
        except BarewindError:
            self.give_back()
            raise
        self._renewed = _now()

    def renew(self) -> None:
        """Say that this run lives, to every host; one that cannot be asked now is asked next time. Sets `lost`."""
        answers = self._ask({name: fleet_lock.renew(self._owner, run) for name, run in self._runs.items()}, False)
        for name, said in answers.items():
            if said.problem:
                continue
            try:
                answer = fleet_lock.read(said.output, name)
            except BarewindError as error:
                self.lost = str(error)
                continue
            if answer.outcome == "held":
                self.lost = f"{name}: it was taken over: {answer.owner}"
            elif answer.outcome == "free":
                self.lost = f"{name}: somebody has removed it (barewind unlock)"
            else:
                self._runs[name] = answer.run
        self._renewed = _now()

    def refresh(self) -> None:
        """Renew it unless that has just been done: nothing else renews it while the user is asked a question."""
        if _now() - self._renewed > _FRESH:
            self.renew()

    def check(self) -> None:
        """Look whether it is still ours.

        Raises:
            LockLost: it is not.
        """
        self.refresh()
        if self.lost:
            raise LockLost(
                f"the lock of the fleet is lost: {self.lost}. Nothing more is done; see: barewind status INVENTORY"
            )

    def give_back(self) -> None:
        """Remove what is ours of it. On a host that cannot be asked the lease ends by itself."""
        ours, self._runs = self._runs, {}
        self._ask({name: fleet_lock.give_back(self._owner.token) for name in ours}, True)

    def _take(self, hosts: list[str]) -> None:
        held = self._held({name: fleet_lock.take(self._owner) for name in hosts})
        dead = {name: one.owner.token for name, one in held.items() if one.owner and fleet_lock.dead(one.owner)}
        still = self._held({name: fleet_lock.take(self._owner, over=[token]) for name, token in dead.items()})
        refused = {name: one for name, one in held.items() if name not in dead} | still
        if refused:
            raise BarewindError(fleet_lock.refused(refused))

    def _held(self, commands: Mapping[str, str]) -> dict[str, Answer]:
        """Ask for it; the answers of hosts where somebody else has it."""
        found, problems = {}, []
        for name, said in self._ask(commands, True).items():
            if said.problem:
                problems.append(
                    f"{name}: the lock of the fleet cannot be taken ({said.problem}); mend it, then run again"
                )
                continue
            try:
                answer = fleet_lock.read(said.output, name)
            except BarewindError as error:
                problems.append(str(error))
                continue
            if answer.outcome == "taken":
                self._runs[name] = answer.run
            else:
                found[name] = answer
        if problems:
            raise BarewindError("\n".join(problems))
        return found


class Watch(BaseStateCallback):
    """Ends the run before its next step when the lock is lost."""

    def __init__(self, lease: Lease) -> None:
        """A handler for `state.add_callback_handler`."""
        self._lease = lease

    def operation_start(self, state: State, op_hash: str) -> None:  # type: ignore[override]  # noqa: ARG002
        """Called by pyinfra before each operation.

        Raises:
            LockLost: it is no longer ours.
        """
        self._lease.check()


def keep(lease: Lease) -> None:
    """Renew it beside everything else, until it is lost or the process ends."""

    def renewals() -> None:
        while not lease.lost:
            gevent.sleep(RENEWAL)
            lease.renew()

    gevent.spawn(renewals)


def asker(state: State) -> Ask:
    """Runs commands on hosts of a run, all at the same time."""

    def ask(commands: Mapping[str, str], connect: bool) -> Mapping[str, shell.Answer]:
        def one(name: str) -> shell.Answer:
            found = state.inventory.get_host(name)
            # A host of this run that is not connected restarts, say: whoever restarts it connects to it again.
            asks = shell.run if connect or found not in state.activated_hosts else shell.run_beside
            with ctx_state.use(state):
                return asks(state, found, commands[name], timeout=_LOOK)

        return dict(zip(commands, Pool(len(commands) or 1).map(one, commands), strict=True))

    return ask


def _now() -> float:
    """Seconds that go on while this machine sleeps: on Linux, those of `time.monotonic` do not."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
