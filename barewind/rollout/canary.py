"""A canary: whether a host that was just undrained serves as well as the others. Pure: two looks in, a verdict out.

HAProxy counts for each server what became of its requests: answers of status 5xx (hrsp_5xx), connections that were refused
(econ), answers that broke off (eresp). Clients that give up are none of these.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from barewind.balancer.names import BACKEND, host_name
from barewind.errors import BarewindError

SOCKET = "/run/haproxy/barewind.sock"  # of the current process: it counts from the last reload on
COUNTERS = f"echo 'show stat {BACKEND} 4 -1' | socat -t 10 -T 10 - UNIX-CONNECT:{SOCKET}"

# A canary is bad from this share of failed requests on, and only if it is worse than the others by this factor: a client
# whose requests fail everywhere says nothing about it.
_SHARE, _FACTOR = 0.01, 3.0

_FAILED = ("hrsp_5xx", "econ", "eresp")

Counters = Mapping[str, "Counted"]


@dataclass(frozen=True)
class Counted:
    """Requests of a server since its balancer's process began."""

    requests: int = 0
    failed: int = 0

    def since(self, before: Counted) -> Counted:
        """The requests since an earlier look; after a reload between the two, those since the reload."""
        if self.requests < before.requests or self.failed < before.failed:
            return self
        return Counted(self.requests - before.requests, self.failed - before.failed)

    def __add__(self, other: Counted) -> Counted:
        return Counted(self.requests + other.requests, self.failed + other.failed)

    @property
    def share(self) -> float:
        """The part of the requests that failed; refused connections can make it more than 1."""
        return self.failed / max(1, self.requests)


@dataclass(frozen=True)
class Verdict:
    """Whether a canary may go on, and why, in a line for a person."""

    good: bool
    message: str


def read(output: str, balancer: str) -> dict[str, Counted]:
    """The requests of every server by its host, from what `COUNTERS` printed.

    Raises:
        BarewindError: the output is not HAProxy's.
    """
    rows = list(csv.DictReader(output.lstrip("# ").splitlines()))
    try:
        return {
            host_name(row["svname"]): Counted(int(row["stot"] or 0), sum(_number(row[key]) for key in _FAILED))
            for row in rows
        }
    except (KeyError, TypeError, ValueError):
        raise BarewindError(
            f"{balancer}: HAProxy's counters cannot be read ({output[:80]!r}); look at: {COUNTERS}"
        ) from None


def judge(servers: Collection[str], before: Mapping[str, Counters], after: Mapping[str, Counters]) -> Verdict:
    """Whether servers have served as well as the others between two looks at every balancer, by name."""
    own, others = Counted(), Counted()
    for balancer, counters in after.items():
        for name, now in counters.items():
            between = now.since(before.get(balancer, {}).get(name, Counted()))
            own, others = (own + between, others) if name in servers else (own, others + between)
    message = (
        f"{own.failed} of {own.requests} requests failed on {', '.join(servers)}, "
        f"{others.failed} of {others.requests} on the others"
    )
    return Verdict(not own.failed or own.share < max(_SHARE, _FACTOR * others.share), message)


def _number(text: str) -> int:
    return int(text or 0)
