"""Which engines are out of service when: those that serve nobody first, then those that serve, a few at a time. Pure.

A host with one engine and its engine have the same name. Of several, the replicas of a host, each has its own turn, but for
changes of what they run on: these take all engines of the host at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from barewind.balancer.commands import Rotation
from barewind.balancer.drain import balancers_without_server
from barewind.errors import BarewindError
from barewind.output.names import fold
from barewind.rollout import folding
from barewind.rollout.folding import Told
from barewind.rollout.names import Names
from barewind.spec.values import parse_max_unavailable

NO_REQUESTS = "gets no requests"  # the reason of a host that shall only be undrained: what it runs does not change


@dataclass(frozen=True)
class EngineState:
    """One engine before a run: what is to happen to it, and whether it serves.

    An engine without reasons is left as it is. One that shall only be undrained needs a reason too.
    """

    name: str
    host: str
    group: str  # the inventory group that counts for capacity
    reasons: tuple[str, ...]  # why it must leave service: "reboot", "release a -> b"
    serving: bool  # some balancer sends it requests
    known: bool  # some balancer has it as a server; one that none knows has never served, and is missed by nobody
    selected: bool  # in this run, not excluded by --limit
    max_unavailable: int | str  # of its group: engines, or "25%"
    allow_downtime: bool
    busy: bool = False  # gets no new requests, and still works on some: an earlier run ended while it drained
    maintenance: str = ""  # by whom, since when and why: upgraded with the others, not undrained
    canary: int = 0  # seconds of its group's first host under real traffic before the others are drained; 0: none
    number: int = 0  # among the engines of its host
    together: bool = False  # with all engines of its host: what they run on changes
    standby: bool = False  # balancers give it weight 0: nobody misses it, and nobody waits for it to serve

    @property
    def touched(self) -> bool:
        """Whether it is in a batch of this run."""
        return self.selected and bool(self.reasons)

    @property
    def mended(self) -> bool:
        """Whether it serves once this run has been at it, though it does not now."""
        return self.touched and self.known and not self.serving and not self.maintenance and not self.standby


@dataclass(frozen=True)
class Batch:
    """Hosts that are out of service at the same time; the next batch begins when they serve again.

    All that a balancer has are drained first, those too that it sends nothing: an engine that starts would get requests as soon
    as its health check passes, before it has passed its gate.
    """

    number: int  # from 1
    of: int
    hosts: tuple[str, ...]
    drained: tuple[str, ...]  # those of them that are drained first
    serving: bool  # they have requests to wait for
    downtime: bool = False  # nothing else serves meanwhile, and 'allow_downtime' says that this may be
    in_maintenance: tuple[str, ...] = ()  # those of them that stay drained
    canaries: tuple[str, ...] = ()  # those of them that stand under real traffic before the next batch begins
    canary_seconds: int = 0

    @cached_property
    def undrained(self) -> Names:
        """Those that get requests again when they have passed their gate."""
        return Names(name for name in self.hosts if name not in self.in_maintenance)

    @property
    def in_service(self) -> tuple[str, ...]:
        """Those that serve until their turn comes: whatever would disturb that must wait for it."""
        return self.hosts if self.serving else ()


def batches(states: list[EngineState]) -> list[Batch]:
    """The batches of a run; `states` are all engines of the inventory, in its order.

    Engines that nobody sends requests come first, all at once. Then group by group, never more out of service in a group than
    its smallest max_unavailable, those counted that are out and stay out, and never the last one that serves. Of each host one
    engine comes before the second of any. Where all engines of a host must go together they do, if they are more than that too.

    Raises:
        BarewindError: it cannot be done; all problems, each with host or group, finding and remedy.
        ValueError: a max_unavailable is not right.
    """
    along = {state.host for state in states if state.touched and state.serving and state.together}
    idle = [state for state in states if state.touched and not state.serving and state.host not in along]
    drafts = [_Draft(tuple(hosts), serving) for hosts, serving in _idle_first(idle) if hosts]
    serving_then = [state for state in states if state.serving or state.mended]  # once the idle have had their turn
    problems: list[str] = []
    for group in dict.fromkeys(state.group for state in states):
        members = [state for state in states if state.group == group and not state.standby]
        to_drain = [state for state in members if state.touched and (state.serving or state.host in along)]
        if not to_drain:
            continue
        moves = _moves(to_drain)
        most = min(parse_max_unavailable(state.max_unavailable, len(members)) for state in members)
        out = [state for state in members if state.known and not state.serving and not state.mended]
        if len(out) >= most:
            problems.append(_no_budget(group, most, to_drain, out))
        elif max(map(len, moves)) < len(serving_then):
            size = min(most - len(out), len(serving_then) - 1)
            drafts += _turns(moves, size, canary=not any(state.canary and state.mended for state in members))
        elif to_drain[0].allow_downtime:
            drafts.append(_Draft(tuple(to_drain), True, downtime=True))
        else:
            problems.append(_downtime(to_drain[0], states))
    if problems:
        raise BarewindError("\n".join(problems))
    draining = {state.group for state in states if state.serving and state.touched}
    return [_batch(draft, number, len(drafts), draining) for number, draft in enumerate(drafts, 1)]


def describe(states: list[EngineState], batches: Iterable[Batch]) -> list[str]:
    """What is about to happen, in lines for a person."""
    reasons = {state.name: ", ".join(state.reasons) for state in states}
    told = []
    together = [state for state in states if state.together and state.number]  # of a host with several
    for batch in batches:
        how = "drained first" if batch.serving else "no requests to wait for"
        if batch.downtime:
            how += "; NOTHING ELSE SERVES MEANWHILE (allow_downtime)"
        if batch.canaries:
            how += f"; canary: {', '.join(batch.canaries)}, {batch.canary_seconds} s under real traffic before the next"
        if hosts := dict.fromkeys(state.host for state in together if state.name in batch.hosts):
            how += f"; all engines of {fold(list(hosts))} together, since what they run on changes"
        told.append(Told(batch.number, batch.of, how, tuple((host, reasons[host]) for host in batch.hosts)))
    lines = folding.lines(told) or ["no host has to be taken out of service"]
    standby = [state.name for state in states if state.standby]
    if standby:
        lines.append(f"stand by, as their weight is 0: {fold(standby)}")
    left_out: dict[str, list[str]] = {}
    for state in states:
        if state.reasons and not state.selected:
            left_out.setdefault(reasons[state.name], []).append(state.name)
    lines += [f"not in this run: {fold(hosts)}: {reason}" for reason, hosts in left_out.items()]
    lines += [
        f"in maintenance: {state.name} ({state.maintenance}); to undrain it: tasks/undrain.py"
        for state in states
        if state.maintenance
    ]
    return lines


@dataclass(frozen=True)
class _Draft:
    hosts: tuple[EngineState, ...]
    serving: bool
    downtime: bool = False
    canary: bool = False  # the first of its group that serves again


def _moves(to_drain: list[EngineState]) -> list[list[EngineState]]:
    """Engines that go together: each by itself, but for those of a host that what they run on takes with it."""
    moves: dict[tuple[str, ...], list[EngineState]] = {}
    for state in sorted(to_drain, key=lambda state: state.number):
        moves.setdefault((state.host,) if state.together else (state.host, state.name), []).append(state)
    return list(moves.values())


def _turns(moves: list[list[EngineState]], size: int, *, canary: bool) -> list[_Draft]:
    """Batches of engines that serve; the first is a single one, or those of a single host, where it is to be the canary."""
    first = 1 if canary and any(state.canary for move in moves for state in move) else 0
    turns = [_Draft(tuple(move), True, canary=True) for move in moves[:first]]
    together: list[EngineState] = []
    for move in moves[first:]:
        if together and len(together) + len(move) > size:
            turns.append(_Draft(tuple(together), True))
            together = []
        together += move
    return [*turns, *([_Draft(tuple(together), True)] if together else [])]


def _batch(draft: _Draft, number: int, of: int, draining: set[str]) -> Batch:
    """`draining` are the groups of which hosts that serve are drained in this run: only these have something to protect.

    A host that an earlier run left out is a canary too: it may have been a bad one then.
    """
    canaries = [state for state in draft.hosts if state.canary and state.mended and state.group in draining]
    if draft.canary:
        canaries = list(draft.hosts)
    return Batch(
        number=number,
        of=of,
        hosts=Names(state.name for state in draft.hosts),
        drained=Names(state.name for state in draft.hosts if state.known),
        serving=draft.serving,
        downtime=draft.downtime,
        in_maintenance=Names(state.name for state in draft.hosts if state.maintenance),
        canaries=Names(state.name for state in canaries),
        canary_seconds=max((state.canary for state in canaries), default=0),
    )


def _idle_first(idle: list[EngineState]) -> Iterator[tuple[list[EngineState], bool]]:
    """Hosts that get no new requests: those with nothing left to do, then those that still work on some.

    An engine that goes together with the others of its host waits for those that do.
    """
    waiting = {state.host for state in idle if state.busy and state.together}
    turns: dict[bool, list[EngineState]] = {False: [], True: []}
    for state in idle:
        turns[state.busy or state.host in waiting].append(state)
    for busy, states in turns.items():
        yield states, busy


def _no_budget(group: str, most: int, to_drain: list[EngineState], out: list[EngineState]) -> str:
    names = ", ".join(state.name for state in out)
    limited = [state.name for state in out if not state.selected]
    maintenance = [state.name for state in out if state.maintenance]
    remedy = f"undrain {', '.join(maintenance)} (tasks/undrain.py)" if maintenance else f"mend {names}"
    remedy = f"let this run include {', '.join(limited)}" if limited else remedy
    return (
        f"group '{group}': {names} out of rotation and not mended by this run, max_unavailable is {most}: "
        f"{', '.join(state.name for state in to_drain)} cannot be drained as well; {remedy}, or raise 'max_unavailable'"
    )


def _downtime(last: EngineState, states: list[EngineState]) -> str:
    others = [state for state in states if state is not last]
    down = ", ".join(state.name for state in others if state.known and not state.standby)
    standby = ", ".join(state.name for state in others if state.standby)
    fresh = ", ".join(state.name for state in others if not state.known)
    why = "it is the only engine host"
    if others:
        findings = [f"{down} out of rotation"] * bool(down) + [f"{standby} of weight 0"] * bool(standby)
        why = "no other host serves" + (f" ({', '.join(findings)})" if findings else "")
    first = f"deploy {fresh} first (--limit), " if fresh else f"mend {down} first, " if down else ""
    if standby:
        first = f"move traffic to {standby} first (tasks/traffic.py), "
    return (
        f"{last.name}: {why}, so this change ({', '.join(last.reasons)}) means downtime; "
        f"{first}{'or ' if first else ''}accept it: allow_downtime = True"
    )


def check(rotations: Mapping[str, Rotation], batches: Iterable[Batch], *, allowed: Iterable[str]) -> None:
    """Refuse a plan that would leave a balancer with nobody, though another has somebody.

    What an earlier batch undrains will be there: that is looked at again right before each drain. `allowed` are the hosts
    with `allow_downtime`.

    Raises:
        BarewindError: names balancers and hosts.
    """
    problems, undrained = [], set[str]()
    for batch in batches:
        # A balancer that gets a server back from an earlier batch, and has it at a weight, is not left with nobody.
        remaining = {
            name: rotation
            for name, rotation in rotations.items()
            if not any(
                rotation.servers[host].weight for host in undrained & (rotation.servers.keys() - set(batch.drained))
            )
        }
        if (
            batch.serving
            and not set(batch.drained) <= set(allowed)
            and (problem := balancers_without_server(remaining, batch.drained))
        ):
            problems.append(problem)
        undrained |= set(batch.undrained)
    if problems:
        raise BarewindError("\n".join(problems))
