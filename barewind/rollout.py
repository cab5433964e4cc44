"""Which hosts are taken out of service when: hosts that serve nobody first, then those that serve, a few at a time. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from barewind.errors import BarewindError


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

    @property
    def moves(self) -> bool:
        """Whether this run takes it out."""
        return self.selected and bool(self.reasons)


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
    after = [one for one in states if one.serving or (one.moves and one.known)]  # who serves once the idle are mended
    problems: list[str] = []
    for group in dict.fromkeys(one.group for one in states):
        members = [one for one in states if one.group == group]
        leaving = [one for one in members if one.serving and one.moves]
        if not leaving:
            continue
        most = min(parse_max_unavailable(one.max_unavailable, len(members)) for one in members)
        out = [one for one in members if one.known and not one.serving and not one.moves]
        if len(out) >= most:
            problems.append(_no_budget(group, most, leaving, out))
        elif len(after) > 1:
            size = min(most - len(out), len(after) - 1)
            planned += [_Draft(tuple(leaving[at : at + size]), True) for at in range(0, len(leaving), size)]
        elif leaving[0].allow_downtime:
            planned.append(_Draft(tuple(leaving), True, downtime=True))
        else:
            problems.append(_downtime(leaving[0], states))
    if problems:
        raise BarewindError("\n".join(problems))
    return [
        Batch(
            number=number,
            of=len(planned),
            hosts=tuple(one.host for one in draft.hosts),
            drained=tuple(one.host for one in draft.hosts if one.known),
            serving=draft.serving,
            downtime=draft.downtime,
        )
        for number, draft in enumerate(planned, 1)
    ]


def describe(states: list[HostState], planned: Iterable[Batch]) -> list[str]:
    """What is about to happen, in lines for a person."""
    reasons = {one.host: one.reasons for one in states}
    lines = []
    for batch in planned:
        how = "drained first" if batch.serving else "no requests to wait for"
        if batch.downtime:
            how += "; NOTHING ELSE SERVES MEANWHILE (allow_downtime)"
        lines.append(f"batch {batch.number} of {batch.of}, {how}:")
        lines += [f"  {host}: {', '.join(reasons[host])}" for host in batch.hosts]
    left = [one for one in states if one.reasons and not one.selected]
    lines += [f"not in this run: {one.host}: {', '.join(one.reasons)}" for one in left]
    return lines or ["no host has to be taken out of service"]


@dataclass(frozen=True)
class _Draft:
    hosts: tuple[HostState, ...]
    serving: bool
    downtime: bool = False


def _idle_first(idle: list[HostState]) -> Iterator[tuple[list[HostState], bool]]:
    """Hosts that get no new requests: those with nothing left to do, then those that still work on some."""
    yield [one for one in idle if not one.busy], False
    yield [one for one in idle if one.busy], True


def _no_budget(group: str, most: int, leaving: list[HostState], out: list[HostState]) -> str:
    names = ", ".join(one.host for one in out)
    limited = [one.host for one in out if not one.selected]
    remedy = f"let this run include {', '.join(limited)}" if limited else f"mend {names}"
    return (
        f"group '{group}': {names} out of rotation and not mended by this run, max_unavailable is {most}: "
        f"{', '.join(one.host for one in leaving)} cannot leave as well; {remedy}, or raise 'max_unavailable'"
    )


def _downtime(last: HostState, states: list[HostState]) -> str:
    others = [one for one in states if one is not last]
    down = ", ".join(one.host for one in others if one.known)
    fresh = ", ".join(one.host for one in others if not one.known)
    why = "it is the only engine host"
    if others:
        why = "no other host serves" + (f" ({down} out of rotation)" if down else "")
    first = f"deploy {fresh} first (--limit), " if fresh else f"bring {down} back first, " if down else ""
    return (
        f"{last.host}: {why}, so this change ({', '.join(last.reasons)}) means downtime; "
        f"{first}{'or ' if first else ''}accept it: allow_downtime = True"
    )
