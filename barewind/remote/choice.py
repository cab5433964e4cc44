"""Who asks whom for what: a chain of hosts, each of which passes on what it has while the first one still downloads.

The first host of a ring that is there asks the endpoint; every other one asks the host before it. So each host receives and
sends every byte once at most, and the last one is done shortly after the first. When a host is gone, or has nothing new for
a while, the one before it is asked in its place; when the first one is gone, the next one goes on with the endpoint.
All functions are pure; call them while holding `swarm.changed`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from barewind.remote.job import FileSet, Part
from barewind.remote.swarm import Other, Swarm

_LAG = 0.25  # share of a set that a host may be behind the others before it is gone around


@dataclass(frozen=True)
class FromHost:
    """A part to be fetched from another host, and the SHA-256 it must have."""

    part: Part
    host: str
    digest: str


def from_host(swarm: Swarm, now: float) -> FromHost | None:
    """The next part to fetch from another host."""
    for one in swarm.job.sets:
        missing = [part for part in swarm.of_set[one.key] if _missing(swarm, part)]
        if not missing:
            continue
        for name in _sources(swarm, one, now):
            for part in missing:
                digest = swarm.offer(part, name)
                if digest is not None:
                    return FromHost(part, name, digest)
    return None


def from_endpoint(swarm: Swarm, now: float) -> Part | None:
    """The next part to fetch from the endpoint, if this host is the one that asks it."""
    if not swarm.able:
        return None
    for one in swarm.job.sets:
        if not asks(swarm, one, now):
            continue
        for part in swarm.of_set[one.key]:
            if _missing(swarm, part) and not _elsewhere(swarm, part, now):
                return part
    return None


def asks(swarm: Swarm, one: FileSet, now: float) -> bool:
    """Whether this host is the first of the ring that is there, wants the files and can ask.

    Nobody asks before all hosts of this run have been heard of, or have had time to be: one of them may have the files.
    """
    waiting = now - swarm.begun < swarm.job.limits.grace
    if waiting and any(swarm.others[name].heard is None for name in swarm.job.expected if name in swarm.others):
        return False
    for name in one.ring:
        if name == swarm.job.host:
            return True
        other = swarm.others.get(name)
        if other is not None and alive(swarm, other, now) and other.able and not other.complete:
            return False
    return False


def alive(swarm: Swarm, other: Other, now: float) -> bool:
    """Whether a host was heard of lately."""
    return other.heard is not None and now - other.heard < swarm.job.limits.dead


def new_rounds(swarm: Swarm, now: float) -> list[tuple[str, str]]:
    """Files that the asking host has to fetch anew: whole, wrong, and nobody has them right."""
    return [
        (key, file)
        for key, file in swarm.doubtful
        if swarm.rounds[key, file] == 0
        and not any((key, file) in other.verified for other in swarm.others.values())
        and swarm.able
        and asks(swarm, _set(swarm, key), now)
    ]


def hopeless(swarm: Swarm, now: float) -> list[tuple[str, str]]:
    """Files that are wrong though they were fetched twice, and that nobody has right.

    The asking host decides: the others have what it sent them, and may have looked at it before it was done.
    """
    return [
        (key, file)
        for key, file in sorted(swarm.doubtful)
        if swarm.rounds[key, file] > 0
        and not any((key, file) in other.verified for other in swarm.others.values())
        and asks(swarm, _set(swarm, key), now)
    ]


def may_leave(swarm: Swarm, now: float, complete_since: float) -> bool:
    """Whether a complete host has no one left to serve: all others are complete too, or have not been heard of for long."""
    told = now - complete_since >= min(2.0, swarm.job.limits.dead / 4)  # so that the others hear of it
    limits = swarm.job.limits
    for name, other in swarm.others.items():
        if other.complete:
            continue
        if other.heard is not None and now - other.heard < limits.linger:
            return False
        if other.heard is None and name in swarm.job.expected and now - swarm.begun < limits.linger:
            return False
    return told


def _sources(swarm: Swarm, one: FileSet, now: float) -> Iterator[str]:
    """Hosts to ask, the best one first: the next one before this one in the ring; others only when it is of no use."""
    place = one.ring.index(swarm.job.host)
    before = [name for name in (*one.ring[:place][::-1], *one.ring[place + 1 :][::-1]) if name in swarm.others]
    before = [name for name in before if alive(swarm, swarm.others[name], now)]
    most = max((_count(swarm.others[name], one) for name in before), default=0)
    for name in before:
        yield name
        other = swarm.others[name]
        behind = most - _count(other, one) > max(4 * len(one.ring), _LAG * len(swarm.of_set[one.key]))
        stalled = now - max(other.gained, swarm.begun) > swarm.job.limits.stalled
        if not (other.complete or behind or stalled):
            return  # what it does not have yet, it will


def _missing(swarm: Swarm, part: Part) -> bool:
    return part.id not in swarm.have and part.id not in swarm.taken and (part.key, part.file) not in swarm.verified


def _elsewhere(swarm: Swarm, part: Part, now: float) -> bool:
    """Whether a host that is there has a part, or is just fetching it."""
    for name, other in swarm.others.items():
        if alive(swarm, other, now) and (part.id in other.fetching or swarm.offer(part, name) is not None):
            return True
    return False


def _count(other: Other, one: FileSet) -> int:
    return other.counts[one.key]


def _set(swarm: Swarm, key: str) -> FileSet:
    return next(one for one in swarm.job.sets if one.key == key)
