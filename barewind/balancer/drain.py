"""What a drain may do, and what becomes of one that does not end. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from barewind.balancer import commands as balancer
from barewind.balancer.commands import Rotation, Wait
from barewind.spec.keys import EngineSpec
from barewind.spec.values import parse_max_unavailable

Policy = Literal["wait", "abort", "proceed"]
Stage = Literal["draining", "drained", "undrained"]  # how far a run has come with a host


@dataclass(frozen=True)
class Drain:
    """How a host is drained.

    + timeout: seconds that requests in flight get to end
    + policy: what becomes of the drain when they do not
    + together: hosts that are drained at the same time
    + allow_downtime: a balancer may be left without a server
    + shutdown: seconds that the engine itself then gives requests that still run
    + group: the hosts that count for capacity, with the max_unavailable of each
    """

    timeout: int
    policy: Policy = "abort"
    together: tuple[str, ...] = ()
    allow_downtime: bool = False
    shutdown: int = 0
    group: Mapping[str, int | str] = field(default_factory=dict)

    @classmethod
    def of(cls, spec: EngineSpec, together: tuple[str, ...], *, group: Mapping[str, int | str] | None = None) -> Drain:
        """The drain that a host's keys ask for, with others. `group` only where a plan of batches counts on its capacity: a
        person who drains hosts, or a host that failed, is not held up by max_unavailable."""
        return cls(
            timeout=spec.drain_timeout,
            policy=spec.drain_policy,
            together=together,
            allow_downtime=spec.allow_downtime,
            shutdown=spec.shutdown_timeout,
            group=group or {},
        )

    def endangers_as(self, other: Drain) -> bool:
        """Whether it leaves the others what another leaves them: what speaks against one speaks against both."""
        same = self.together == other.together and self.allow_downtime == other.allow_downtime
        return same and self.group == other.group

    @property
    def limit(self) -> int:
        """Seconds after which a drain is stuck, and not just slow."""
        return 30 * 86400 if self.policy == "wait" else self.timeout + 300


@dataclass(frozen=True)
class Next:
    """What to do now: go on with the host, look again, or leave it as it is; `message` says why."""

    step: Literal["go on", "wait", "give up"]
    message: str


def decide(wait: Wait, rotations: Mapping[str, Rotation], server: str, drain: Drain) -> Next:
    """What follows from where a drain stands."""
    if wait.outcome == "done":
        return Next("go on", "")
    if wait.outcome == "waiting":
        return Next("wait", f"waits for {wait.message}")
    if balancer.serving(rotations.values(), server):  # it would get new requests while it restarts
        return Next("give up", f"{wait.message}; something undrains it: find it, then run again")
    if drain.policy == "wait":
        return Next("wait", f"waits longer than drain_timeout for {wait.message} (drain_policy 'wait')")
    if drain.policy == "proceed":
        return Next(
            "go on",
            f"{wait.message}; goes on (drain_policy 'proceed'): {wait.left} request(s) are cut unless they end within the "
            f"engine's own {drain.shutdown} s (shutdown_timeout)",
        )
    return Next("give up", f"{wait.message}; raise 'drain_timeout', set 'drain_policy', or end these requests")


def no_server_left(rotations: Mapping[str, Rotation], drain: Drain) -> str:
    """Why these hosts must not be drained now: a balancer would have no server left; empty if they may."""
    if drain.allow_downtime:
        return ""
    return balancers_without_server(rotations, drain.together)


def too_few(rotations: Mapping[str, Rotation], drain: Drain) -> str:
    """Why these hosts must not be drained now, though the plan let them: their group has lost others since; empty if they may."""
    using = list(rotations.values())
    serving = {name for rotation in using for name in rotation.in_rotation}
    if drain.group.keys() <= serving.union(drain.together):  # of a thousand hosts, at each of a thousand batches
        return ""
    members = [name for name in drain.group if balancer.known(using, name) and not balancer.standby(using, name)]
    draining = [name for name in drain.together if name in members]
    out = [name for name in members if name not in drain.together and name not in serving]
    if not out or serving.isdisjoint(draining):
        return ""
    most = min(parse_max_unavailable(drain.group[name], len(members)) for name in members)
    if len(out) + len(draining) <= most:
        return ""
    return (
        f"{', '.join(out)} out of rotation by now, and max_unavailable is {most}: {', '.join(draining)} cannot be drained as "
        "well; mend what is out (barewind status INVENTORY), then run again, or raise 'max_unavailable'"
    )


def balancers_without_server(rotations: Mapping[str, Rotation], drained: Iterable[str]) -> str:
    """Sentence about the balancers that would have no server left once these are drained; empty if there are none."""
    names = list(drained)
    balancers = balancer.without_server(rotations, names)
    if not balancers:
        return ""
    return (
        f"{', '.join(balancers)}: sends requests to {', '.join(names)} only, and would have no server left; look there at why "
        "the others get none, or accept it: allow_downtime = True"
    )
