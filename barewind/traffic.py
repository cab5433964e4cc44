"""Which part of the requests each group of hosts gets, by weights, and how it is moved from one to another. Pure.

HAProxy gives each server requests by its weight among those in rotation. With least connections that is its part of the requests
in flight: of new ones too, as long as they take equally long everywhere and are more than there are servers.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from barewind.balancer import MOST_WEIGHT, WEIGHT, Health, Rotation
from barewind.errors import BarewindError

_FULL = 100  # percent


@dataclass(frozen=True)
class Move:
    """Traffic that moves to the hosts of a group, step by step, from all that have it now."""

    group: str
    to: tuple[str, ...]
    others: tuple[str, ...]  # whose part goes; hosts that stand by go on doing so
    counted: int  # those of the others that can take requests now: the parts are worked out for them
    shares: tuple[int, ...]  # percent of the new requests for `to` after each step
    seconds: int  # between two steps

    def weights(self, share: int) -> dict[str, int]:
        """Weights of all servers that take part."""
        own, rest = weights(len(self.to), self.counted, share)
        return dict.fromkeys(self.to, own) | dict.fromkeys(self.others, rest)


def parse_shares(value: object) -> tuple[int, ...]:
    """Percents from "10,50,100", or from a single number.

    Raises:
        ValueError: they are none, or do not rise.
    """
    words = [str(one).strip() for one in (value if isinstance(value, list | tuple) else str(value).split(","))]
    found = tuple(int(word.removesuffix("%")) for word in words if re.fullmatch(r"[0-9]{1,3}%?", word))
    rise = all(before < after for before, after in zip((0, *found), found, strict=False))
    if not found or len(found) != len(words) or not rise or found[-1] > _FULL:
        raise ValueError(f'found {value!r}; write a percent from 1 to 100, or several that rise: "10,50,100"')
    return found


def weights(hosts: int, others: int, share: int) -> tuple[int, int]:
    """The weight of each of some hosts that together are to get a share (percent), and that of each of the others.

    Weights are whole numbers: of those that meet the share to a tenth of a percent, the ones nearest to what a server has
    by default; where none does, the nearest to the share.
    """
    if share >= _FULL or not others:
        return WEIGHT, 0

    def quality(pair: tuple[int, int]) -> tuple[float, int]:
        own, rest = pair
        found = _FULL * hosts * own / (hosts * own + others * rest)
        return round(abs(found - share), 1), abs(max(pair) - WEIGHT)

    ratio = share * others / ((_FULL - share) * hosts)  # of own to rest
    pairs = []
    for most in range(1, MOST_WEIGHT + 1):
        less = max(1, round(most * min(ratio, 1 / ratio)))
        pairs.append((most, less) if ratio > 1 else (less, most))
    return min(pairs, key=quality)


def plan(
    rotations: Mapping[str, Rotation], group: str, to: Iterable[str], *, shares: tuple[int, ...], seconds: int
) -> Move:
    """The move to some hosts of a group.

    Raises:
        BarewindError: a balancer could not send one of them requests, or nobody would be there for the rest of the share.
    """
    hosts = tuple(to)
    problems = [problem for name, found in rotations.items() for problem in _unfit(name, found, hosts)]
    if problems:
        raise BarewindError("\n".join(problems))
    giving = {
        one.name: one.available
        for found in rotations.values()
        for one in found.servers.values()
        if one.name not in hosts and one.weight
    }
    counted = sum(giving.values())
    if not counted and shares[0] < _FULL:
        raise BarewindError(
            f"group '{group}': nobody else could take the other {_FULL - shares[0]} % (hosts that stand by are given nothing): "
            "name the group that shall get more: --data to=GROUP"
        )
    return Move(group, hosts, tuple(giving), counted, shares, seconds)


def done(move: Move, rotations: Mapping[str, Rotation]) -> bool:
    """Whether every balancer has the weights of the only step already."""
    wanted = move.weights(move.shares[-1])
    return len(move.shares) == 1 and all(
        found.servers[name].weight == weight
        for found in rotations.values()
        for name, weight in wanted.items()
        if name in found.servers
    )


def part(found: Rotation, servers: Collection[str]) -> float | None:
    """The percent of a balancer's new requests that some servers get; None where nobody gets any."""
    using = {name: one.weight for name, one in found.servers.items() if one.in_rotation}
    total = sum(using.values())
    return _FULL * sum(weight for name, weight in using.items() if name in servers) / total if total else None


def describe(move: Move) -> list[str]:
    """What is about to happen, in lines for a person."""
    lines = []
    for number, share in enumerate(move.shares, 1):
        given = ", ".join(f"{name} {weight}" for name, weight in move.weights(share).items())
        lines.append(f"step {number} of {len(move.shares)}: {share} % to {move.group}; weights: {given}")
        if number < len(move.shares):
            lines.append(f"  then its requests are watched for {move.seconds} s")
    return lines


def told(move: Move, rotations: Mapping[str, Rotation]) -> list[str]:
    """Who gets what, on each balancer."""
    lines = []
    for name, found in rotations.items():
        own = part(found, move.to)
        rest = "" if own is None or own == _FULL else f", {_FULL - own:.3g} % to {', '.join(_rest(found, move))}"
        said = "nobody gets requests" if own is None else f"{own:.3g} % to {move.group} ({', '.join(move.to)}){rest}"
        lines.append(f"{name}: {said}")
    return lines


def _rest(found: Rotation, move: Move) -> list[str]:
    return [name for name, one in found.servers.items() if one.in_rotation and name not in move.to]


def _unfit(balancer: str, found: Rotation, hosts: tuple[str, ...]) -> list[str]:
    if not found.running:
        return [f"{balancer}: HAProxy does not run; deploy it first"]
    problems = []
    for name in hosts:
        one = found.servers.get(name)
        if one is None:
            problems.append(f"{name}: {balancer} does not know it; deploy first")
        elif one.health is Health.UNCHECKED and one.available:
            problems.append(f"{name}: its health is not checked yet on {balancer}; run again in a moment")
        elif not one.available:
            problems.append(
                f"{name}: {one.state.lower()} on {balancer}; bring it back first (tasks/undrain.py, or look at its engine), or "
                "leave it out: --exclude"
            )
    return problems
