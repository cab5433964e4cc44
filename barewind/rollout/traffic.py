"""Traffic: which part of the requests each group of hosts gets, by weights, and how it is directed to another one. Pure.

HAProxy gives each server requests by its weight among those in rotation. With least connections that is its part of the requests
in flight: of new ones too, as long as they take equally long everywhere and are more than there are servers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from barewind.balancer.commands import MOST_WEIGHT, WEIGHT, Health, Rotation
from barewind.errors import BarewindError
from barewind.spec.keys import EngineSpec
from barewind.spec.values import FULL


@dataclass(frozen=True)
class Traffic:
    """Requests that are directed to the hosts of a group, step by step, from all that have them now.

    Among the servers of the group, and among the others, they go by base weights.
    """

    group: str
    to: tuple[str, ...]
    others: tuple[str, ...]  # whose part goes; hosts that stand by go on doing so
    counted: tuple[str, ...]  # those of the others that can take requests now: the parts are worked out for them
    shares: tuple[int, ...]  # percent of the new requests for `to` after each step
    seconds: int  # between two steps
    base: Mapping[str, int] = field(default_factory=dict)  # by server, its base weight, if it is not 100

    def weights(self, share: int) -> dict[str, int]:
        """Weights of all servers that take part, for a share in percent."""
        own, others = factors(
            [self._base(name) for name in self.to],
            [self._base(name) for name in self.counted],
            share,
            max(map(self._base, self.others), default=WEIGHT),
        )
        of_group = {name: weight(self._base(name), own) for name in self.to}
        return of_group | {name: weight(self._base(name), others) for name in self.others}

    def _base(self, name: str) -> int:
        return self.base.get(name, WEIGHT)


def members(
    engines: Mapping[str, EngineSpec], group: str | None, selected: Collection[str]
) -> tuple[list[str], list[str]]:
    """The hosts of a group that get the requests, and those that are not in this run and get nothing more.

    Raises:
        BarewindError: no group is named, it has no engine host, or none of them is in this run.
    """
    everyone = [name for name, spec in engines.items() if group in spec.groups]
    hosts = [name for name in everyone if name in selected]
    if hosts:
        return hosts, [name for name in everyone if name not in hosts]
    groups = dict.fromkeys(name for spec in engines.values() for name in spec.groups)
    known = f"groups with engine hosts: {', '.join(groups)}"
    if group is None:
        raise BarewindError(f"key 'to': not set; say which group shall get the requests: --data to=GROUP ({known})")
    if everyone:
        raise BarewindError(f"group '{group}': none of its hosts is in this run; see --limit and --exclude")
    raise BarewindError(f"key 'to': no engine host is in group '{group}' ({known})")


def factors(
    own: Collection[int], others: Collection[int], share: int, most_of_others: int
) -> tuple[Fraction, Fraction]:
    """What to multiply the base weights of some servers by that together are to get a share (percent), and those of the others.

    Weights are whole numbers: of the factors with which each server gets its part, but for a tenth of a percent of the requests
    in all, those whose largest weight is nearest to what a server has by default; where there are none, the nearest to the parts.

    + own, others: the base weights of those that can take requests
    + most_of_others: the largest base weight of the others, those included that cannot take any now
    """
    if share >= FULL or not others:
        return Fraction(1), Fraction(0)
    ratio = Fraction(share * sum(others), (FULL - share) * sum(own))  # of the first factor to the second
    largest = max(ratio * max(own), Fraction(most_of_others))
    alike = [  # servers: how many, the base weight and the percent of each, and its factor where the others' is 1
        (servers, base, Fraction(percent * base, sum(bases)), factor)
        for bases, percent, factor in ((own, share, ratio), (others, FULL - share, Fraction(1)))
        for base, servers in Counter(bases).items()
    ]

    def quality(most: int) -> tuple[float, int]:
        given = [(servers, weight(base, factor * most / largest), part) for servers, base, part, factor in alike]
        total = sum(servers * whole for servers, whole, _ in given)
        elsewhere = sum(servers * abs(FULL * Fraction(whole, total) - part) for servers, whole, part in given) / 2
        return round(float(elsewhere), 1), abs(most - WEIGHT)

    factor = min(range(1, MOST_WEIGHT + 1), key=quality) / largest
    return factor * ratio, factor


def weight(base: int, factor: Fraction) -> int:
    """The weight of a server by its base weight; 0 only where nothing is to go there."""
    return max(1, round(base * factor)) if factor else 0


def plan(
    rotations: Mapping[str, Rotation],
    group: str,
    to: Iterable[str],
    *,
    shares: tuple[int, ...],
    seconds: int,
    base: Mapping[str, int],
) -> Traffic:
    """How requests are directed to some hosts of a group.

    + base: the base weight of each server; balancers may have others still, which have left the inventory

    Raises:
        BarewindError: a balancer could not send a host requests, or nobody would be there for the rest of the share.
    """
    hosts = tuple(to)
    problems = [problem for name, rotation in rotations.items() for problem in _unfit(name, rotation, hosts)]
    if problems:
        raise BarewindError("\n".join(problems))
    giving = {
        server.name: server.available
        for rotation in rotations.values()
        for server in rotation.servers.values()
        if server.name not in hosts and server.weight
    }
    counted = tuple(name for name, available in giving.items() if available)
    if not counted and shares[0] < FULL:
        raise BarewindError(
            f"group '{group}': nobody else could take the other {FULL - shares[0]} % (hosts that stand by are given nothing): "
            "name the group that shall get more: --data to=GROUP"
        )
    return Traffic(group, hosts, tuple(giving), counted, shares, seconds, base)


def directed(traffic: Traffic, rotations: Mapping[str, Rotation]) -> bool:
    """Whether every balancer has the weights of the only step already."""
    wanted = traffic.weights(traffic.shares[-1])
    return len(traffic.shares) == 1 and all(
        rotation.servers[name].weight == weight
        for rotation in rotations.values()
        for name, weight in wanted.items()
        if name in rotation.servers
    )


def part(rotation: Rotation, servers: Collection[str]) -> float | None:
    """The percent of a balancer's new requests that some servers get; None where nobody gets any."""
    using = {name: server.weight for name, server in rotation.servers.items() if server.in_rotation}
    total = sum(using.values())
    return FULL * sum(weight for name, weight in using.items() if name in servers) / total if total else None


def parts(rotation: Rotation) -> dict[str, float]:
    """The percent of a balancer's new requests that each of its servers gets."""
    weights = {name: server.weight if server.in_rotation else 0 for name, server in rotation.servers.items()}
    total = sum(weights.values())
    return {name: FULL * weight / total if total else 0.0 for name, weight in weights.items()}


def describe(traffic: Traffic) -> list[str]:
    """What is about to happen, in lines for a person."""
    lines = []
    for number, share in enumerate(traffic.shares, 1):
        given = ", ".join(f"{name} {weight}" for name, weight in traffic.weights(share).items())
        lines.append(f"step {number} of {len(traffic.shares)}: {share} % to {traffic.group}; weights: {given}")
        if number < len(traffic.shares):
            lines.append(f"  then its requests are looked at for {traffic.seconds} s")
    return lines


def distribution(traffic: Traffic, rotations: Mapping[str, Rotation]) -> list[str]:
    """Who gets what, in a line for each balancer."""
    lines = []
    for name, rotation in rotations.items():
        own = part(rotation, traffic.to)
        if own is None:
            lines.append(f"{name}: nobody gets requests")
            continue
        others = [
            server for server, known in rotation.servers.items() if known.in_rotation and server not in traffic.to
        ]
        rest = "" if own == FULL else f", {FULL - own:.3g} % to {', '.join(others)}"
        lines.append(f"{name}: {own:.3g} % to {traffic.group} ({', '.join(traffic.to)}){rest}")
    return lines


def _unfit(balancer: str, rotation: Rotation, hosts: tuple[str, ...]) -> list[str]:
    if not rotation.running:
        return [f"{balancer}: HAProxy does not run; deploy it first"]
    problems = []
    for name in hosts:
        server = rotation.servers.get(name)
        if server is None:
            problems.append(f"{name}: {balancer} does not know it; deploy first")
        elif server.health is Health.UNCHECKED and server.available:
            problems.append(f"{name}: its health is not checked yet on {balancer}; run again in a moment")
        elif not server.available:
            problems.append(
                f"{name}: {server.state.lower()} on {balancer}; undrain it first (tasks/undrain.py), look at its engine, or "
                "leave it out: --exclude"
            )
    return problems
