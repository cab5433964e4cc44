"""The balancers of a fleet, asked and told while an engine host is in hand."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import TypeVar

from pyinfra import logger
from pyinfra.api import Host, State

from barewind.balancer import commands
from barewind.balancer import drain as draining
from barewind.balancer.commands import Rotation
from barewind.balancer.drain import Drain, Stage
from barewind.balancer.operations.together import Together
from barewind.errors import BarewindError
from barewind.hosts.ask import Answers, ask
from barewind.hosts.poll import Poll
from barewind.hosts.shell import run

_INTERVAL = 1.0  # seconds between looks
_AGAIN = 0.2  # seconds between the two looks that find nothing in flight
_CHECKED = 90  # seconds until every server's first health check has ended: connecting 3, its answer 60
_UNDRAINED = 180  # seconds; two health checks of an engine under load (60 each) take less

Result = TypeVar("Result")
Told = Mapping[str, Answers[Rotation]]  # by host, what the balancers answered
Refusal = tuple[dict[str, Rotation], str]  # what balancers do, and why nobody may be drained, if so


class Balancers:
    """Every balancer of a fleet, whether it is in the run or not, and what the run has done to each engine.

    An engine's server has the name of the engine. Engines that come at the same time are told to a balancer in one command. A
    method that cannot do its work either says so and returns False, or raises a BarewindError; what it has done to the other
    balancers by then is told at the method.
    """

    def __init__(self, state: State, names: Collection[str]) -> None:
        """`names` are hosts of the inventory; nobody is asked yet."""
        self.names = tuple(names)
        self.stages: dict[str, Stage] = {}  # by engine; whoever ends the run early needs to know
        self.untouched: set[str] = set()  # engines whose drain was refused or undone: their turn had come
        self._state = state
        self._last: dict[str, Rotation] = {}  # by balancer, what it did at the last look at all its servers
        self._drained_before: dict[str, list[str]] = {}  # by engine: the balancers that had drained it already
        self._refusing = Together(self._refusals)
        self._draining = Together(partial(self._tell, commands.drain))
        self._undraining = Together(partial(self._tell, commands.undrain))

    def __repr__(self) -> str:
        return f"Balancers({', '.join(self.names)})"

    def ask(
        self, command: str, read: Callable[[str, str], Result], names: Collection[str] | None = None
    ) -> Answers[Result]:
        """Run a command on balancers at the same time; `read` gets the output and the name of each.

        + names: of those balancers; None: all
        """

        def question(name: str) -> Result:
            answer = run(self._state, self._state.inventory.get_host(name), command)
            if answer.problem:
                raise BarewindError(
                    f"{name}: the balancer does not answer ({answer.problem}); mend it, then deploy again"
                )
            return read(answer.output, name)

        return ask(self.names if names is None else names, question)

    def look(self, names: Collection[str] | None = None) -> dict[str, Rotation]:
        """What balancers do with their servers; `names` as for `ask`.

        Raises:
            BarewindError: a balancer does not answer, or not as expected.
        """
        rotations = self.ask(commands.show_servers(), commands.read, names).all()
        self._last |= rotations
        return rotations

    def look_again(self) -> dict[str, Rotation]:
        """What balancers do with their servers; the requests may be those of an earlier look. Those of a balancer whose servers
        are as they were are not read again: with a look for each batch that would grow with the square of the fleet.

        Raises:
            BarewindError: a balancer does not answer, or not as expected.
        """

        def again(name: str) -> Rotation:
            last = self._last.get(name, Rotation(()))
            command = commands.show_servers(unless=last.fingerprint)
            return self.ask(command, lambda output, lb: commands.read(output, lb, last), [name]).all()[name]

        rotations = ask(self.names, again).all()
        self._last |= rotations
        return rotations

    def drain(self, host: Host, name: str, drain: Drain) -> bool:
        """Drain an engine of a host; False, and said so, when that fails: then every balancer does with it what it did before.

        + name: the engine's, here and below
        """
        rotations, problem = self._refusing.ask(name, drain, drain.together)
        if problem:
            self.untouched.add(name)
            return _failed(host, name, f"{problem}. The host was not touched")
        self._drained_before[name] = commands.drained_on(rotations, name)
        self.stages[name] = "draining"
        try:
            self.wait_drained(host, name, drain)
        except BarewindError as error:
            self.undo_drain(name, drain.together)
            gets = "Its requests go on" if commands.serving(rotations.values(), name) else "It gets none, as before"
            return _failed(host, name, f"{error}. {gets}, the host was not touched")
        self.stages[name] = "drained"
        return True

    def undo_drain(self, name: str, others: Collection[str] = ()) -> None:
        """Undrain an engine whose drain has not ended, where it was not drained before; balancers that fail to are logged.

        + others: hosts whose drains may end so at the same time
        """
        self.stages.pop(name, None)
        self.untouched.add(name)
        before = self._drained_before.pop(name, [])
        names = [balancer for balancer in self.names if balancer not in before]
        for error in self._undraining.ask(name, names, others).errors.values():
            logger.error(error)

    def drain_at_once(self, name: str) -> None:
        """Have every balancer that can be reached send an engine nothing more; requests in flight are not waited for.

        Raises:
            BarewindError: a balancer cannot be told; the others were.
        """
        self.stages[name] = "drained"
        commands.check_drained(self._draining.ask(name, self.names).all(), name)

    def wait_drained(self, host: Host, name: str, drain: Drain) -> None:
        """Drain an engine and wait until it has no requests, as long as the policy says; it stays drained if this fails.

        Raises:
            BarewindError: the policy gives up, a balancer cannot be told, or something else undrains the host.
        """
        poll = Poll(_INTERVAL, log=host.log, log_at_once=True)
        logged, empty = "", False
        while True:
            rotations = self._draining.ask(name, self.names, drain.together).all()
            commands.check_drained(rotations, name)
            wait = commands.wait_drained(rotations, name, waited=poll.waited, limit=drain.timeout)
            decision = draining.decide(wait, rotations, name, drain)
            if decision.step == "give up":
                raise BarewindError(decision.message)
            # What one of HAProxy's threads was just giving to the server is counted a moment later: two looks must agree.
            if decision.step == "go on" and (empty or wait.outcome != "done"):
                break
            empty = decision.step == "go on"
            if not empty and wait.message != logged and poll.log(decision.message):
                logged = wait.message
            poll.pause(_AGAIN if empty else _INTERVAL)
        if decision.message:
            logger.warning(f"{host.print_prefix}{name}: {decision.message}")

    def undrain(self, host: Host, name: str, others: Collection[str] = ()) -> bool:
        """Undrain an engine and wait until every balancer that has it sends it requests; False, and said so, if one does not.

        + others: hosts that are undrained at the same time
        """
        poll = Poll(_INTERVAL)
        try:
            while True:
                rotations = self._undraining.ask(name, self.names, others).all()
                commands.check_undrained(rotations, name)
                wait = commands.wait_undrained(rotations, name, waited=poll.waited, limit=_UNDRAINED)
                if wait.outcome != "waiting":
                    break
                poll.pause()
        except BarewindError as error:
            return _failed(host, name, str(error))
        if wait.outcome == "gave up":
            return _failed(
                host, name, f"{wait.message}; it answers on the host itself: look at the network and its firewall"
            )
        if name in self.stages:
            self.stages[name] = "undrained"
        return True

    def weigh(self, weights: Mapping[str, Mapping[str, int]]) -> None:
        """Set weights of servers, by balancer.

        Raises:
            BarewindError: a balancer cannot be told; the others were.
        """

        def tell(name: str) -> None:
            command = commands.weigh(weights[name])
            self.ask(command, lambda output, lb: commands.read_weighed(output, lb, weights[name]), [name]).all()

        ask(weights, tell).all()

    def _tell(self, command: Callable[..., str], wanted: Mapping[str, Collection[str]]) -> Told:
        """Have balancers drain or undrain hosts: `wanted` are the balancers by host."""
        hosts = {name: [host for host, names in wanted.items() if name in names] for name in self.names}

        def tell(name: str) -> Mapping[str, Rotation]:
            rotations: dict[str, Rotation] = {}
            for part in commands.divided(hosts[name]):
                rotation = self.ask(command(*part), commands.read, [name]).all()[name]
                rotations.update(dict.fromkeys(part, rotation))
            return rotations

        told = ask([name for name in self.names if hosts[name]], tell)
        return {
            host: Answers(
                {name: rotations[host] for name, rotations in told.answers.items() if name in names},
                {name: error for name, error in told.errors.items() if name in names},
            )
            for host, names in wanted.items()
        }

    def _refusals(self, drains: Mapping[str, Drain]) -> Mapping[str, Refusal]:
        """What balancers do now, and why nobody may be drained, for hosts that are to be drained at the same time."""
        alike: list[list[str]] = []  # hosts for which the answer is the same
        for host, drain in drains.items():
            same = next((hosts for hosts in alike if drains[hosts[0]].endangers_as(drain)), None)
            alike.append([host]) if same is None else same.append(host)
        refusals = ask([hosts[0] for hosts in alike], lambda host: self._refusal(drains[host]))
        return {
            host: refusals.answers.get(hosts[0]) or ({}, refusals.errors[hosts[0]]) for hosts in alike for host in hosts
        }

    def _refusal(self, drain: Drain) -> Refusal:
        """What balancers do now, and why nobody may be drained: a balancer would have no server left, or the group too few.

        Health checks that have not ended yet are waited for, and hosts that are only down for a moment.
        """
        poll = Poll(_INTERVAL)
        while True:
            rotations = self.look_again()
            waited = poll.waited
            wait = commands.wait_checked(rotations, waited=waited, limit=_CHECKED)
            if wait.outcome == "gave up":
                return rotations, wait.message
            problem = draining.too_few(rotations, drain)
            if wait.outcome == "done" and (not problem or waited >= _CHECKED):
                return rotations, problem or draining.no_server_left(rotations, drain)
            poll.pause()


def _failed(host: Host, engine: str, problem: str) -> bool:
    logger.error(f"{host.print_prefix}{engine}: {problem}")
    return False
