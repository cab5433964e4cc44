"""The lease of a fleet for the length of a run: taken, renewed beside everything else, released."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager

import gevent
from pyinfra.api import State
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.state import BaseStateCallback
from pyinfra.context import ctx_state

from barewind.errors import BarewindError
from barewind.hosts import shell
from barewind.hosts.ask import ask
from barewind.hosts.poll import Poll
from barewind.hosts.readings import beside
from barewind.lease import commands
from barewind.lease.commands import ENGINE_RENEWAL, ENGINE_TERM, RENEWAL, TERM, Answer, Holder

_FRESH = 5.0  # seconds for which a renewal need not be repeated
_LOOK = 30  # seconds until a host has answered; it does so at once unless it is busy

# Takes a command for each host, and whether to connect to hosts of this run that are not connected; returns their answers.
Ask = Callable[[Mapping[str, str], bool], Mapping[str, shell.Answer]]


class LeaseLost(PyinfraError):
    """Another run may be at work, or somebody wants this one to end: nothing more may be done."""


class Lease:
    """The lease on balancers and engine hosts. The first host decides between two runs that begin at the same time.

    Runs meet at the balancers, which are asked every `RENEWAL` seconds and before each step; of the engine hosts so many are
    asked each time that all have had their turn after `ENGINE_RENEWAL` seconds.
    """

    def __init__(self, holder: Holder, balancers: list[str], engines: list[str], ask: Ask) -> None:
        """Nothing is taken yet; `balancers` and `engines` are each in the same order for every run."""
        self.lost = ""  # why this run no longer holds it
        self._holder = holder
        # Where there is no balancer, an engine host stands for one.
        self._balancers, self._engines = (balancers, engines) if balancers else (engines[:1], engines[1:])
        self._ask = ask
        self._starts: dict[str, str] = {}  # host -> its last start, as the host identifies it
        self._next = 0  # the engine host whose turn is next
        self._passed: set[str] = set()  # tokens of runs that balancers have passed over
        self._renewed = _now()

    def take(self) -> None:
        """Take the lease on every host, or on none.

        Raises:
            BarewindError: another run holds it, or a host does not answer.
        """
        try:
            for part in (self._balancers[:1], self._balancers[1:], self._engines):
                self._take(part)
        except BarewindError:
            self.release()
            raise
        self._renewed = _now()

    def renew(self) -> None:
        """Renew the lease on the balancers and the next engine hosts, and set `lost` if it is; a host that cannot be asked now is
        asked next time."""
        turns = renewed_at_a_time(len(self._engines))
        hosts = [self._engines[(self._next + turn) % len(self._engines)] for turn in range(turns)]
        self._next += turns
        self._renew([*self._balancers, *hosts])

    def refresh(self) -> None:
        """Renew the lease on the balancers unless that has just been done: nothing else renews it while the user is asked a
        question."""
        if _now() - self._renewed > _FRESH:
            self._renew(self._balancers)

    def _renew(self, hosts: Collection[str]) -> None:
        renewals = {
            name: commands.renew(self._holder, self._starts[name], term=self._term(name))
            for name in hosts
            if name in self._starts
        }
        for name, printed in self._ask(renewals, False).items():
            if printed.problem:
                continue
            try:
                answer = commands.read(printed.output, name)
            except BarewindError as error:
                self.lost = str(error)
                continue
            if answer.outcome == "held":
                self.lost = f"{name}: it was taken over: {answer.holder}"
            elif answer.outcome == "free":
                self.lost = f"{name}: somebody has removed it (barewind lease release)"
            else:
                self._starts[name] = answer.start
        self._renewed = _now()

    def _term(self, name: str) -> int:
        return TERM if name in self._balancers else ENGINE_TERM

    def check(self) -> None:
        """Look whether this run still holds the lease.

        Raises:
            LeaseLost: it does not.
        """
        self.refresh()
        if self.lost:
            raise LeaseLost(f"the lease is lost: {self.lost}. Nothing more is done; see: barewind status INVENTORY")

    def release(self) -> None:
        """Remove the lease where this run holds it. On a host that cannot be asked it ends by itself."""
        held, self._starts = self._starts, {}
        self._ask({name: commands.release(self._holder.token) for name in held}, True)

    def _take(self, hosts: list[str]) -> None:
        refused = self._try({name: self._command(name, self._passed) for name in hosts})
        ended = {
            name: answer.holder.token
            for name, answer in refused.items()
            if answer.holder and commands.has_ended(answer.holder)
        }
        again = self._try({name: self._command(name, {token}) for name, token in ended.items()})
        refused = {name: answer for name, answer in refused.items() if name not in ended} | again
        if refused:
            raise BarewindError(commands.refusal(refused))

    def _command(self, name: str, over: Collection[str]) -> str:
        return commands.take(self._holder, sorted(over), term=self._term(name))

    def _try(self, takes: Mapping[str, str]) -> dict[str, Answer]:
        """Run commands that take the lease; the answers of hosts on which another run holds it.

        Raises:
            BarewindError: hosts do not answer; the message names all of them.
        """
        refused, problems = {}, []
        for name, printed in self._ask(takes, True).items():
            if printed.problem:
                problems.append(f"{name}: the lease cannot be taken ({printed.problem}); mend it, then run again")
                continue
            try:
                answer = commands.read(printed.output, name)
            except BarewindError as error:
                problems.append(str(error))
                continue
            if answer.outcome == "taken":
                self._starts[name] = answer.start
                self._passed |= {answer.passed} - {"", self._holder.token}
            else:
                refused[name] = answer
        if problems:
            raise BarewindError("\n".join(problems))
        return refused


@contextmanager
def held(
    state: State, balancers: Iterable[str], engines: Iterable[str], command: list[str], why: str | None
) -> Iterator[Lease]:
    """Hold the lease for the length of a block that is no run of pyinfra.

    + command: its words, as `sys.argv` has them

    Raises:
        BarewindError: another run holds it, or a host does not answer.
    """
    lease = Lease(commands.this_process(command, why), sorted(balancers), sorted(engines), asker(state))
    try:
        lease.take()
        keep(lease)
        yield lease
    finally:
        lease.release()


def renewed_at_a_time(engines: int) -> int:
    """Of so many engine hosts, those whose turn comes every `RENEWAL` seconds."""
    return math.ceil(engines * RENEWAL / ENGINE_RENEWAL)


class Watch(BaseStateCallback):
    """Ends the run before its next step when the lease is lost."""

    def __init__(self, lease: Lease) -> None:
        """A handler for `state.add_callback_handler`."""
        self._lease = lease

    def operation_start(self, state: State, op_hash: str) -> None:  # type: ignore[override]  # noqa: ARG002
        """Called by pyinfra before each operation.

        Raises:
            LeaseLost: this run no longer holds it.
        """
        self._lease.check()


def keep(lease: Lease) -> None:
    """Renew a lease beside everything else, until it is lost or the process ends."""

    def renewals() -> None:
        poll = Poll(RENEWAL)
        while not lease.lost:
            poll.pause()
            lease.renew()

    gevent.spawn(renewals)


def asker(state: State) -> Ask:
    """A function that runs commands on hosts of a run, all at the same time."""

    def ask_all(wanted: Mapping[str, str], connect: bool) -> Mapping[str, shell.Answer]:
        def question(name: str) -> shell.Answer:
            host = state.inventory.get_host(name)
            # A host of this run that is not connected may be restarting: what restarts it will connect to it again.
            run = shell.run if connect or host not in state.activated_hosts else shell.run_beside
            with beside():
                return run(state, host, wanted[name], timeout=_LOOK)

        with ctx_state.use(state):
            return ask(wanted, question).all()

    return ask_all


def _now() -> float:
    """Seconds that go on while this machine sleeps: on Linux, those of `time.monotonic` do not."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
