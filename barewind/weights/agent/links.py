"""Whom a host follows: in the ring, and in a few other orders of the same hosts, the nearest one before it that lives.

Every order is a cycle through all hosts, worked out from their names alone, the same on each host. So each host follows one host
per order and is followed by one, however many there are; what one of them knows reaches all within a few steps, as in any
mixture of random cycles; and when hosts are gone, however many in a row, each cycle closes over them. The first order of a
set is its ring: whom a host follows there gives it its parts. All functions are pure; call them while holding `state.changed`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from barewind.weights.agent import schedule
from barewind.weights.agent.job import FileSet, Job
from barewind.weights.agent.state import State

MOST = 16  # connections of a host with others, whoever opened them
PARTS = 3  # of these, for parts from others; each host gives as many to the one after it
_SPARE = 2  # those that are refused are open for a moment too
_ALONE, _SHARED = 3, 2  # orders of a ring, when it is the only one of a job and when there are two


@dataclass(frozen=True)
class Order:
    """The hosts of a ring as this host sees them in one order: the nearest one before it first."""

    before: tuple[str, ...]
    sets: tuple[FileSet, ...] = ()  # whose parts come along it; none when it is for news alone


def orders(job: Job) -> list[Order]:
    """One for each link of a host."""
    rings: dict[tuple[str, ...], list[FileSet]] = {}
    for file_set in job.sets:
        if job.host in file_set.ring and len(file_set.ring) > 1:
            rings.setdefault(file_set.ring, []).append(file_set)
    found = []
    for ring, sets in rings.items():
        found.append(Order(_before(ring, job), tuple(sets)))
        shuffled = [_shuffled(ring, number) for number in range(1, _ALONE if len(rings) == 1 else _SHARED)]
        found += [Order(_before(order, job)) for order in shuffled]
    return found


def most_incoming(links: int) -> int:
    """Connections that a host accepts: what is left when it opens as many itself as it ever does."""
    scout = 1
    return max(links + PARTS, MOST - _SPARE - links - PARTS - scout)


def host_to_follow(state: State, order: Order, taken: set[str], now: float) -> str | None:
    """The host to follow over a link; `taken` are followed over others."""
    free = [name for name in order.before if name not in taken]
    if order.sets:
        name = _source(state, order, taken, now)
        if name is not None:
            return name
    elif (teacher := _teacher(state, order, taken, now)) is not None:
        return teacher
    for name in _reachable(state, free, now):
        return name
    return next((name for name in free if not _failed(state, name, now, state.job.limits.dead / 10)), None)


def host_to_scout(state: State, now: float) -> str | None:
    """A host to try whether it is there after all: one that nobody hears of, or that did not answer."""
    silent = [name for name, other in state.others.items() if not schedule.alive(state, other, now) or other.failed_at]
    expected = state.job.expected
    return min(silent, key=lambda name: (state.others[name].scouted_at, name not in expected), default=None)


def _source(state: State, order: Order, taken: set[str], now: float) -> str | None:
    """The nearest host that has parts this one needs, or will have."""
    for file_set in order.sets:
        missing = schedule.missing_bits(state, file_set.key)
        if not missing:
            continue
        for name in order.before:
            other = state.others.get(name)
            if other is None or not schedule.answers(state, other, now):
                continue
            if other.link is not None and name in taken and not schedule.of_no_use(state, file_set, name, now):
                return None  # it is followed over another link
            if name not in taken and (
                not schedule.of_no_use(state, file_set, name, now) or schedule.has_any(state, name, file_set, missing)
            ):
                return name
    return None


def _teacher(state: State, order: Order, taken: set[str], now: float) -> str | None:
    """A host that has a file right which is wrong here: it knows which parts are."""
    for file in sorted(state.doubtful):
        if all(part.id in state.proven for part in state.parts_of_file[file]):
            continue
        for name in order.before:
            other = state.others.get(name)
            if other is None or not schedule.answers(state, other, now):
                continue
            if state.verified_on(other, file):
                return None if name in taken else name
    return None


def _reachable(state: State, names: list[str], now: float) -> Iterator[str]:
    starting = not any(schedule.alive(state, other, now) for other in state.others.values())
    for name in names:
        other = state.others.get(name)
        if other is None:
            continue
        never = other.heard_at is None and (name in state.job.expected or starting)
        untried = never and not _failed(state, name, now, state.job.limits.dead)
        if untried or schedule.answers(state, other, now):
            yield name


def _failed(state: State, name: str, now: float, within: float) -> bool:
    failed_at = state.others[name].failed_at
    return failed_at is not None and now - failed_at < within


def _before(order: tuple[str, ...], job: Job) -> tuple[str, ...]:
    place = order.index(job.host)
    return tuple(name for name in (*order[:place][::-1], *order[place + 1 :][::-1]) if name in job.peers)


def _shuffled(ring: tuple[str, ...], number: int) -> tuple[str, ...]:
    """The same on every host, whatever its Python: that of `random` may differ."""
    return tuple(sorted(ring, key=lambda name: hashlib.sha256(f"{number} {name}".encode()).digest()))
