"""What a drain may do, and what becomes of one that does not end. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from barewind import balancer
from barewind.balancer import Rotation, Wait
from barewind.errors import BarewindError
from barewind.rollout import Batch, parse_max_unavailable

Policy = Literal["wait", "abort", "proceed"]


@dataclass(frozen=True)
class Drain:
    """How hosts leave. `timeout` in seconds; `together` leave at the same time; `shutdown` is what the engine itself then gives
    requests that still run, in seconds; `group` are the hosts that count for capacity, with the max_unavailable of each."""

    timeout: int
    policy: Policy = "abort"
    together: tuple[str, ...] = ()
    allow_downtime: bool = False
    shutdown: int = 0
    group: Mapping[str, int | str] = field(default_factory=dict)

    @property
    def limit(self) -> int:
        """Seconds after which something is stuck, and not just slow."""
        return 30 * 86400 if self.policy == "wait" else self.timeout + 300


@dataclass(frozen=True)
class Next:
    """What to do now: go on with the host, look again, or leave it as it is; and a line for a person."""

    step: Literal["go on", "wait", "give up"]
    said: str


def decide(wait: Wait, rotations: Mapping[str, Rotation], server: str, drain: Drain) -> Next:
    """What follows from where a drain stands."""
    if wait.outcome == "done":
        return Next("go on", "")
    if wait.outcome == "waiting":
        return Next("wait", f"waits for {wait.said}")
    if balancer.serving(rotations.values(), server):  # it would get new requests while it restarts
        return Next("give up", f"{wait.said}; something puts it back: find it, then run again")
    if drain.policy == "wait":
        return Next("wait", f"waits longer than drain_timeout for {wait.said} (drain_policy 'wait')")
    if drain.policy == "proceed":
        return Next(
            "go on",
            f"{wait.said}; goes on (drain_policy 'proceed'): {wait.left} request(s) are cut unless they end within the "
            f"engine's own {drain.shutdown} s (shutdown_timeout)",
        )
    return Next("give up", f"{wait.said}; raise 'drain_timeout', set 'drain_policy', or end these requests")


def emptying(rotations: Mapping[str, Rotation], drain: Drain) -> str:
    """Why these hosts must not leave now: a balancer would have nobody left; empty if they may."""
    if drain.allow_downtime:
        return ""
    return _emptied(rotations, drain.together)


def too_few(rotations: Mapping[str, Rotation], drain: Drain) -> str:
    """Why these hosts must not leave now, though the plan let them: their group has lost others since; empty if they may."""
    using = list(rotations.values())
    members = [name for name in drain.group if balancer.known(using, name) and not balancer.standby(using, name)]
    leaving = [name for name in drain.together if name in members]
    out = [name for name in members if name not in drain.together and not balancer.serving(using, name)]
    if not out or not any(balancer.serving(using, name) for name in leaving):
        return ""
    most = min(parse_max_unavailable(drain.group[name], len(members)) for name in members)
    if len(out) + len(leaving) <= most:
        return ""
    return (
        f"{', '.join(out)} out of rotation by now, and max_unavailable is {most}: {', '.join(leaving)} cannot leave as well; "
        "mend what is out (barewind status INVENTORY), then run again, or raise 'max_unavailable'"
    )


def check(rotations: Mapping[str, Rotation], batches: Iterable[Batch], *, allowed: Iterable[str]) -> None:
    """Refuse a plan that would leave a balancer with nobody, though another has somebody.

    What returns in an earlier batch will be there: that is looked at again right before each drain. `allowed` are the hosts
    with `allow_downtime`.

    Raises:
        BarewindError: names balancers and hosts.
    """
    found, returned = [], set[str]()
    for batch in batches:
        left = {
            name: one
            for name, one in rotations.items()
            if not any(one.servers[back].weight for back in returned & (one.servers.keys() - set(batch.drained)))
        }
        if batch.serving and not set(batch.drained) <= set(allowed) and (problem := _emptied(left, batch.drained)):
            found.append(problem)
        returned |= set(batch.returning)
    if found:
        raise BarewindError("\n".join(found))


def _emptied(rotations: Mapping[str, Rotation], servers: Iterable[str]) -> str:
    names = list(servers)
    empty = balancer.emptied(rotations, names)
    if not empty:
        return ""
    return (
        f"{', '.join(empty)}: sends requests to {', '.join(names)} only, and would have no server left; look there at why the "
        "others get none, or accept it: allow_downtime = True"
    )
