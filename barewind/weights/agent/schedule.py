"""Who asks whom for what: a chain of hosts, each of which passes on what it has while the first one still downloads.

The first host of a ring that is there asks the endpoint; every other one asks the host before it. So each host receives and
sends every byte once at most, and the last one is done shortly after the first. When a host is gone, or has nothing new for
a while, the one before it is asked in its place; when the first one is gone, the next one goes on with the endpoint.
Call the functions while holding `state.changed`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from barewind.weights.agent.job import FileId, FileSet, Part
from barewind.weights.agent.others import OtherHost
from barewind.weights.agent.state import State

_FORGIVEN = 3  # times as long as a silent host counts as gone: then one that did not answer this host is asked again
_NEAR = (
    4  # hosts before another one in the ring, with which that one is compared; each is a part or two ahead of the next
)
_LAG = 0.25  # share of a set that a host may be behind those before it until it is gone around


@dataclass(frozen=True)
class PartOfHost:
    """A part to be fetched from another host, and the SHA-256 it must have."""

    part: Part
    host: str
    digest: str


def next_from_host(state: State, now: float) -> PartOfHost | None:
    """The next part to fetch from another host."""
    for file_set in state.job.sets:
        missing = missing_bits(state, file_set.key)
        if not missing:
            continue
        for name in _sources(state, file_set, now):
            link = state.others[name].link
            for part in _parts(state, file_set.key, missing & link.bits.get(file_set.key, 0) if link else 0):
                digest = state.offer(part, name)
                if digest is not None and _missing(state, part):
                    return PartOfHost(part, name, digest)
    return None


def next_from_endpoint(state: State, now: float) -> Part | None:
    """The next part to fetch from the endpoint, if this host is the one that asks it."""
    if not state.can_ask:
        return None
    for file_set in state.job.sets:
        if not asks_endpoint(state, file_set, now):
            continue
        followed = [name for name in state.followed() if alive(state, state.others[name], now)]
        for part in _parts(
            state, file_set.key, missing_bits(state, file_set.key) & ~_elsewhere(state, file_set.key, now)
        ):
            if _missing(state, part) and not any(state.offer(part, name) for name in followed):
                return part
    return None


def asks_endpoint(state: State, file_set: FileSet, now: float) -> bool:
    """Whether this host is the first of the ring that is there, wants the files and can ask.

    No host asks before all hosts of this run have been heard of, or have had time to be: one of them may have the files.
    """
    waiting = now - state.started_at < state.job.limits.grace
    if waiting and any(state.others[name].heard_at is None for name in state.job.expected if name in state.others):
        return False
    for name in file_set.ring:
        if name == state.job.host:
            return True
        other = state.others.get(name)
        if other is not None and alive(state, other, now) and other.can_ask and not other.complete:
            return False
    return False


def alive(state: State, other: OtherHost, now: float) -> bool:
    """Whether a host was heard of lately."""
    return other.heard_at is not None and now - other.heard_at < state.job.limits.dead


def note_failure(state: State, name: str, now: float, *, full: bool) -> None:
    """A host did not answer. Where it only had no room, it is asked again before long."""
    state.others[name].failed_at = now - (_FORGIVEN - 0.5) * state.job.limits.dead if full else now


def answers(state: State, other: OtherHost, now: float) -> bool:
    """Whether a host was heard of lately, and has not left this one without an answer."""
    return alive(state, other, now) and (
        other.failed_at is None or now - other.failed_at > _FORGIVEN * state.job.limits.dead
    )


def of_no_use(state: State, file_set: FileSet, name: str, now: float) -> bool:
    """Whether a host will not have soon what it does not have yet."""
    other = state.others[name]
    if other.complete or now - max(other.gained_at, state.started_at) > state.job.limits.stalled:
        return True
    key = file_set.key
    most = max((one.count(key) for one in _before(state, file_set, name, now)), default=0)
    return most - other.count(key) > max(4 * _NEAR, _LAG * len(state.parts_of_set[key]))


def missing_bits(state: State, key: str) -> int:
    """Parts of a set that are not there."""
    return (1 << len(state.parts_of_set[key])) - 1 & ~state.bits[key]


def has_any(state: State, name: str, file_set: FileSet, bits: int) -> bool:
    """Whether a host has some of the parts, as this host needs them."""
    if not state.others[name].detailed:
        return bool(state.offered(name, file_set.key) & bits)
    link = state.others[name].link
    bits &= link.bits.get(file_set.key, 0) if link else 0
    return any(state.offer(part, name) is not None for part in _parts(state, file_set.key, bits))


def files_to_fetch_anew(state: State, now: float) -> list[FileId]:
    """Files that the asking host has to fetch a second time: whole, wrong, and no host has them right."""
    return [
        (key, file)
        for key, file in state.doubtful
        if state.rounds[key, file] == 0
        and not state.verified_elsewhere((key, file))
        and state.can_ask
        and asks_endpoint(state, _set(state, key), now)
    ]


def hopeless(state: State, now: float) -> list[FileId]:
    """Files that are wrong though they were fetched twice, and that no host has right.

    The asking host decides: the others have what it sent them, and may have looked at it before it was done.
    """
    return [
        (key, file)
        for key, file in sorted(state.doubtful)
        if state.rounds[key, file] > 0
        and not state.verified_elsewhere((key, file))
        and asks_endpoint(state, _set(state, key), now)
    ]


def may_end(state: State, now: float, complete_since: float) -> bool:
    """Whether a complete host has no other left to serve: all are complete too, or have not been heard of for long.

    It stays a little longer than it needs to know that: those who hear it from this host are to hear it.
    """
    limits = state.job.limits
    known_since = complete_since
    for name, other in state.others.items():
        if other.complete:
            known_since = max(known_since, other.completed_at)
            continue
        if other.heard_at is not None and now - other.heard_at < limits.linger:
            return False
        if other.heard_at is None and name in state.job.expected and now - state.started_at < limits.linger:
            return False
    return now - known_since >= min(2.0, limits.dead / 4)


def _sources(state: State, file_set: FileSet, now: float) -> Iterator[str]:
    """Hosts to ask, the best one first: the one before this one in the ring; others only when it is of no use."""
    for name in state.before[file_set.key]:
        other = state.others.get(name)
        if other is None or not answers(state, other, now):
            continue
        if other.link is not None:
            yield name
        if not of_no_use(state, file_set, name, now):
            return  # what it does not have yet, it will


def _before(state: State, file_set: FileSet, name: str, now: float) -> Iterator[OtherHost]:
    """The hosts that are there and stand right before another one in the ring."""
    ring, place = file_set.ring, state.places[file_set.key][name]
    near = (state.others.get(ring[place - back]) for back in range(1, min(len(ring), 2 * _NEAR)))
    return islice((other for other in near if other is not None and alive(state, other, now)), _NEAR)


def _missing(state: State, part: Part) -> bool:
    return part.id not in state.have and part.id not in state.claimed and part.file_id not in state.verified


def _elsewhere(state: State, key: str, now: float) -> int:
    """Parts that hosts just fetch, and those that they have as far as their rows tell; of a host that is followed, the parts
    that it has told one by one do not count here. What its row says may be known before that, and is on its way.
    """
    bits = 0
    for name, other in state.others.items():
        if alive(state, other, now):
            for fetched_key, number in other.fetching:
                bits |= 1 << number if fetched_key == key else 0
            bits |= state.offered(name, key) & ~(other.link.bits.get(key, 0) if other.link else 0)
    return bits


def _parts(state: State, key: str, bits: int) -> Iterator[Part]:
    """The parts that some bits stand for, in the order in which they are best fetched."""
    parts = state.parts_of_set[key]
    while bits:
        lowest = bits & -bits
        yield parts[lowest.bit_length() - 1]
        bits ^= lowest


def _set(state: State, key: str) -> FileSet:
    return next(file_set for file_set in state.job.sets if file_set.key == key)
