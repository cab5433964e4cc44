"""Batches of a large fleet, told together where they are alike. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from barewind.output.names import fold

_APART = 10  # so many batches are told one by one


@dataclass(frozen=True)
class Told:
    """What is said of one batch: how it goes, and its hosts with the reason of each."""

    number: int
    of: int
    how: str
    hosts: tuple[tuple[str, str], ...]


def lines(batches: Iterable[Told]) -> list[str]:
    """Lines for a person; of many batches, those that follow each other and go the same way for the same reasons are one."""
    found = []
    for alike in _alike(list(batches)):
        first, last = alike[0], alike[-1]
        if first is last:
            head = f"batch {first.number} of {first.of}, {first.how}:"
        else:
            head = f"batches {first.number} to {last.number} of {first.of}, one after the other, {first.how}:"
        reasons: dict[str, list[str]] = {}
        for batch in alike:
            for host, reason in batch.hosts:
                reasons.setdefault(reason, []).append(host)
        found.append(head)
        if first.of <= _APART:
            found += [f"  {host}: {reason}" for host, reason in first.hosts]
        else:
            found += [f"  {fold(hosts)}: {reason}" for reason, hosts in reasons.items()]
    return found


def _alike(batches: list[Told]) -> Iterator[list[Told]]:
    run: list[Told] = []
    for batch in batches:
        if run and (batch.of <= _APART or _key(run[-1]) != _key(batch)):
            yield run
            run = []
        run.append(batch)
    if run:
        yield run


def _key(batch: Told) -> tuple[str, frozenset[str]]:
    return batch.how, frozenset(reason for _, reason in batch.hosts)
