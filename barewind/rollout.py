"""Which hosts are taken out of service when: hosts that serve nobody first, then those that serve, a few at a time. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from barewind.errors import BarewindError

LEFT_OUT = "gets no requests"  # the reason of a host that shall only return: what it runs does not change


@dataclass(frozen=True)
class HostState:
    """One engine host before a run: what is to happen to it, and whether it serves.

    A host without reasons is left as it is. One that shall only return to the balancers needs a reason too.
    """

    host: str
    group: str  # the inventory group that counts for capacity
    reasons: tuple[str, ...]  # why it must be taken out: "reboot", "release a -> b"
    serving: bool  # some balancer sends it requests
    known: bool  # some balancer has it as a server; one that none knows has never served, and is missed by nobody
    selected: bool  # in this run, not excluded by --limit
    max_unavailable: int | str  # of its group: hosts, or "25%"
    allow_downtime: bool
    busy: bool = False  # gets no new requests, and still works on some: an earlier run ended while it drained
    held: str = ""  # drained on purpose, and by whom, since when and why: upgraded with the others, not put back
    canary: int = 0  # seconds of its group's first host under real traffic before the others leave; 0: none
    standby: bool = False  # balancers give it weight 0: nobody misses it, and nobody waits for it to serve

    @property
    def moves(self) -> bool:
        """Whether this run takes it out."""
        return self.selected and bool(self.reasons)

    @property
    def returns(self) -> bool:
        """Whether it serves once this run has mended it, though it does not now."""
        return self.moves and self.known and not self.serving and not self.held and not self.standby


@dataclass(frozen=True)
class Batch:
    """Hosts that are out of service at the same time; the next batch begins when they are back.

    All that a balancer has leave it first, those too that it sends nothing: an engine that starts would get requests as soon
    as its health check passes, before it has passed its gate.
    """

    number: int  # from 1
    of: int
    hosts: tuple[str, ...]
    drained: tuple[str, ...]  # those of them that leave the balancers
    serving: bool  # they have requests to wait for
    downtime: bool = False  # nothing else serves meanwhile, and 'allow_downtime' says that this may be
    held: tuple[str, ...] = ()  # those of them that are drained on purpose, and stay so
    baked: tuple[str, ...] = ()  # those of them that are watched under real traffic before the next batch begins
    canary: int = 0  # for so long, seconds

    @property
    def returning(self) -> tuple[str, ...]:
        """Those that get requests again when they have passed their gate."""
        return tuple(name for name in self.hosts if name not in self.held)

    @property
    def in_service(self) -> tuple[str, ...]:
        """Those that serve until their turn comes: whatever would disturb that must wait for it."""
        return self.hosts if self.serving else ()


def parse_max_unavailable(value: int | str, hosts: int) -> int:
    """How many of a group's hosts may be out at once: a number, or a share of the group, rounded down, at least one.

    Raises:
        ValueError: it is neither, or would let no host leave.
    """
    text = str(value).strip()
    share = re.fullmatch(r"([0-9]+)%", text)
    if share and 1 <= int(share[1]) <= 100:
        return max(1, hosts * int(share[1]) // 100)
    if re.fullmatch(r"[0-9]+", text) and int(text) >= 1:
        return int(text)
    raise ValueError(f'found {value!r}; write a number of hosts from 1, or a share of the group from "1%" to "100%"')


def batches(states: list[HostState]) -> list[Batch]:
    """The batches of a run; `states` are all engine hosts of the inventory, in its order.

    Hosts that nobody sends requests come first, all at once. Then group by group, never more out of service in a group than
    its smallest max_unavailable, hosts counted that are out and stay out, and never the last host that serves.

    Raises:
        BarewindError: it cannot be done; all problems, each with host or group, finding and remedy.
        ValueError: a max_unavailable is not right.
    """
    idle = [one for one in states if one.moves and not one.serving]
    planned = [_Draft(tuple(hosts), serving) for hosts, serving in _idle_first(idle) if hosts]
    after = [one for one in states if one.serving or one.returns]  # who serves once the idle are mended
    problems: list[str] = []
    for group in dict.fromkeys(one.group for one in states):
        members = [one for one in states if one.group == group and not one.standby]
        leaving = [one for one in members if one.serving and one.moves]
        if not leaving:
            continue
        most = min(parse_max_unavailable(one.max_unavailable, len(members)) for one in members)
        out = [one for one in members if one.known and not one.serving and not one.returns]
        if len(out) >= most:
            problems.append(_no_budget(group, most, leaving, out))
        elif len(after) > 1:
            planned += _turns(leaving, min(most - len(out), len(after) - 1), watched=not _watched(members))
        elif leaving[0].allow_downtime:
            planned.append(_Draft(tuple(leaving), True, downtime=True))
        else:
            problems.append(_downtime(leaving[0], states))
    if problems:
        raise BarewindError("\n".join(problems))
    groups = {one.group for one in states if one.serving and one.moves}
    return [_batch(draft, number, len(planned), groups) for number, draft in enumerate(planned, 1)]


def describe(states: list[HostState], planned: Iterable[Batch]) -> list[str]:
    """What is about to happen, in lines for a person."""
    reasons = {one.host: one.reasons for one in states}
    lines = []
    for batch in planned:
        how = "drained first" if batch.serving else "no requests to wait for"
        if batch.downtime:
            how += "; NOTHING ELSE SERVES MEANWHILE (allow_downtime)"
        if batch.baked:
            how += f"; canary: {', '.join(batch.baked)} watched for {batch.canary} s before the next"
        lines.append(f"batch {batch.number} of {batch.of}, {how}:")
        lines += [f"  {host}: {', '.join(reasons[host])}" for host in batch.hosts]
    if not lines:
        lines.append("no host has to be taken out of service")
    standby = [one.host for one in states if one.standby]
    if standby:
        lines.append(f"stand by, as their weight is 0: {', '.join(standby)}")
    left = [one for one in states if one.reasons and not one.selected]
    lines += [f"not in this run: {one.host}: {', '.join(one.reasons)}" for one in left]
    lines += [
        f"drained on purpose: {one.host} ({one.held}); to return it: tasks/undrain.py" for one in states if one.held
    ]
    return lines


@dataclass(frozen=True)
class _Draft:
    hosts: tuple[HostState, ...]
    serving: bool
    downtime: bool = False
    watched: bool = False  # the first that returns of its group


def _turns(leaving: list[HostState], size: int, *, watched: bool) -> list[_Draft]:
    """Batches of hosts that serve; the first is a single one where it is to be watched."""
    first = 1 if watched and _watched(leaving, serving=True) else 0
    alone = [_Draft(tuple(leaving[:first]), True, watched=True)] if first else []
    return alone + [_Draft(tuple(leaving[at : at + size]), True) for at in range(first, len(leaving), size)]


def _watched(hosts: list[HostState], *, serving: bool = False) -> list[HostState]:
    """Those that are to be watched when they return. One that an earlier run left out too: it may have been a bad canary."""
    return [one for one in hosts if one.canary and (serving or one.returns)]


def _batch(draft: _Draft, number: int, of: int, leaving: set[str]) -> Batch:
    """`leaving` are the groups of which hosts that serve leave in this run: only for these is there something to protect."""
    baked = [one for one in _watched(list(draft.hosts)) if one.group in leaving]
    if draft.watched:
        baked = list(draft.hosts)
    return Batch(
        number=number,
        of=of,
        hosts=tuple(one.host for one in draft.hosts),
        drained=tuple(one.host for one in draft.hosts if one.known),
        serving=draft.serving,
        downtime=draft.downtime,
        held=tuple(one.host for one in draft.hosts if one.held),
        baked=tuple(one.host for one in baked),
        canary=max((one.canary for one in baked), default=0),
    )


def _idle_first(idle: list[HostState]) -> Iterator[tuple[list[HostState], bool]]:
    """Hosts that get no new requests: those with nothing left to do, then those that still work on some."""
    yield [one for one in idle if not one.busy], False
    yield [one for one in idle if one.busy], True


def _no_budget(group: str, most: int, leaving: list[HostState], out: list[HostState]) -> str:
    names = ", ".join(one.host for one in out)
    limited = [one.host for one in out if not one.selected]
    held = [one.host for one in out if one.held]
    remedy = f"return {', '.join(held)} (tasks/undrain.py)" if held else f"mend {names}"
    remedy = f"let this run include {', '.join(limited)}" if limited else remedy
    return (
        f"group '{group}': {names} out of rotation and not mended by this run, max_unavailable is {most}: "
        f"{', '.join(one.host for one in leaving)} cannot leave as well; {remedy}, or raise 'max_unavailable'"
    )


def _downtime(last: HostState, states: list[HostState]) -> str:
    others = [one for one in states if one is not last]
    down = ", ".join(one.host for one in others if one.known and not one.standby)
    standby = ", ".join(one.host for one in others if one.standby)
    fresh = ", ".join(one.host for one in others if not one.known)
    why = "it is the only engine host"
    if others:
        states_of = [f"{down} out of rotation"] * bool(down) + [f"{standby} of weight 0"] * bool(standby)
        why = "no other host serves" + (f" ({', '.join(states_of)})" if states_of else "")
    first = f"deploy {fresh} first (--limit), " if fresh else f"bring {down} back first, " if down else ""
    if standby:
        first = f"move traffic to {standby} first (tasks/traffic.py), "
    return (
        f"{last.host}: {why}, so this change ({', '.join(last.reasons)}) means downtime; "
        f"{first}{'or ' if first else ''}accept it: allow_downtime = True"
    )
