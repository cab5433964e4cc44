"""How each engine host stands before a run: what it serves, what balancers do with it, why it must be touched. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from barewind.balancer import commands as balancer
from barewind.balancer.commands import Admin, Rotation
from barewind.balancer.maintenance import Maintenance
from barewind.errors import BarewindError
from barewind.plan.container import USER
from barewind.rollout.batches import NO_REQUESTS, Batch, EngineState
from barewind.spec.keys import EngineSpec


@dataclass(frozen=True)
class EngineHost:
    """One engine of the inventory and its host, as known before a run. Of hosts that are not in the run nothing else is known."""

    spec: EngineSpec
    group: str  # the inventory group that counts for capacity
    selected: bool = True  # in this run, not excluded by --limit
    active: bool | None = None  # whether its engine runs; None: it could not be asked
    maintenance: Maintenance | None = None
    reasons: tuple[str, ...] = ()  # why it must leave service
    together: bool = False  # with every other engine of its host: what they run on changes

    @property
    def name(self) -> str:
        """The engine's, and of its server on balancers: that of the host, where it has no other engine."""
        return self.spec.name


@dataclass(frozen=True)
class Rollout:
    """Which hosts a run touches when.

    + batches: hosts that must leave service for it
    + unaffected: hosts of the run that need nothing that what they serve would notice
    + without_drain: those, and hosts that serve nobody; none of a host of which another engine is drained first
    + maintenance: hosts in maintenance that some balancer would send requests: one that is new, or has forgotten
    + partially_drained: hosts that serve, and the balancers that drain them nobody knows why: a run before could not reach the
      balancer, or it was somebody's hand
    """

    batches: tuple[Batch, ...]
    unaffected: frozenset[str] = frozenset()
    without_drain: frozenset[str] = frozenset()
    maintenance: frozenset[str] = frozenset()
    partially_drained: Mapping[str, list[str]] = field(default_factory=dict)


def states(rotations: Mapping[str, Rotation], hosts: Iterable[EngineHost], *, canaries: bool) -> list[EngineState]:
    """The state of every engine host, for the plan of batches. Without `canaries` no host is one, whatever its keys say."""
    return [_state(rotations, host, canaries=canaries) for host in hosts]


def rollout(rotations: Mapping[str, Rotation], hosts: Sequence[EngineHost], batches: Sequence[Batch]) -> Rollout:
    """What a run with these batches does with each host, those included that are in no batch."""
    in_batches = {name for batch in batches for name in batch.hosts}
    idle = {name for batch in batches for name in batch.hosts if name not in batch.in_service}
    unaffected = [host for host in hosts if host.selected and host.name not in in_batches]
    names = {host.name for host in unaffected}
    serving_hosts = {host.spec.host for host in hosts if host.name in in_batches - idle}
    drained = {host.name: balancer.drained_on(rotations, host.name) for host in unaffected if host.maintenance is None}
    return Rollout(
        batches=tuple(batches),
        unaffected=frozenset(names),
        without_drain=frozenset(
            host.name for host in hosts if host.name in (names | idle) and host.spec.host not in serving_hosts
        ),
        maintenance=frozenset(
            host.name for host in hosts if _stays_drained(rotations, host) and forgotten(rotations, host.name)
        ),
        partially_drained={name: names for name, names in sorted(drained.items()) if names},
    )


def check_unknown_drains(
    rotations: Mapping[str, Rotation], hosts: Iterable[EngineHost], deployed: Collection[str]
) -> None:
    """Refuse a run whose balancers would send requests to a host that is drained on another one, and that the run cannot drain
    on them, because the host is not in it. `deployed` are the hosts of the run.

    Raises:
        BarewindError: names balancers and hosts.
    """
    drained = {host.name: balancer.drained_on(rotations, host.name) for host in hosts if not host.selected}
    problems = [
        f"{lb}: would send requests to {name}, which is drained on {', '.join(names)}; let this run include {name} "
        "(--limit), which drains it here too or undrains it there"
        for lb, rotation in rotations.items()
        for name, names in drained.items()
        if lb in deployed and names and name not in rotation.servers
    ]
    if problems:
        raise BarewindError("\n".join(problems))


def forgotten(rotations: Mapping[str, Rotation], name: str) -> bool:
    """Whether some balancer would send a host requests as soon as its health check passes."""
    return any(
        name not in rotation.servers or rotation.servers[name].admin is Admin.READY for rotation in rotations.values()
    )


def ignored_maintenance(rotations: Mapping[str, Rotation], hosts: Iterable[EngineHost]) -> list[str]:
    """Warnings about hosts that are in maintenance by their own word, and serve all the same."""
    return [
        f"{host.name}: in maintenance, but gets requests: tasks/undrain.py or tasks/drain.py"
        for host in hosts
        if host.maintenance is not None and not _stays_drained(rotations, host)
    ]


def release_change(running: str | None, release: str | None) -> list[str]:
    """The reason of a host that is to serve another release than it does; none if it is the same."""
    return [] if running == release else [f"release {running or 'none'} -> {release}"]


def rights_change(user: str | None, *, hardened: bool) -> list[str]:
    """What changes in the rights of a host's container beside its release; `user` is whose processes those of now are.

    None: no container runs. An image's own user, "", is taken for root.
    """
    root = user is not None and user.partition(":")[0] in ("", "0", "root")
    if user is None or root != hardened:
        return []
    new = (
        f"uid {USER} without capabilities, root read-only"
        if hardened
        else "the image's user, as before container_hardening"
    )
    old = "root" if root else f"uid {user.partition(':')[0]}"
    return [f"the container's rights change: {old} -> {new}"]


def members(hosts: Iterable[EngineHost]) -> dict[str, dict[str, int | str]]:
    """By group the hosts that count for its capacity, and by each one's max_unavailable how many of them may be out."""
    groups: dict[str, dict[str, int | str]] = {}
    for host in hosts:
        groups.setdefault(host.group, {})[host.name] = host.spec.max_unavailable
    return groups


def _state(rotations: Mapping[str, Rotation], host: EngineHost, *, canaries: bool) -> EngineState:
    using = rotations.values()
    known, standby = balancer.known(using, host.name), balancer.standby(using, host.name)
    serving = _serving(rotations, host)
    well = serving or (standby and balancer.available(using, host.name))
    reasons = host.reasons
    if not reasons and known and not well and host.selected and host.maintenance is None:
        reasons = (NO_REQUESTS,)  # a run that ended early left it out, or its health check fails
    return EngineState(
        name=host.name,
        host=host.spec.host,
        number=host.spec.replica or 0,
        together=host.together,
        group=host.group,
        reasons=reasons,
        serving=serving,
        known=known,
        selected=host.selected,
        max_unavailable=host.spec.max_unavailable,
        allow_downtime=host.spec.allow_downtime,
        busy=not serving and any(balancer.in_flight(rotation, host.name) for rotation in using),
        maintenance=host.maintenance.message if host.maintenance is not None and not serving else "",
        canary=host.spec.canary if canaries else 0,
        standby=standby,
    )


def _serving(rotations: Mapping[str, Rotation], host: EngineHost) -> bool:
    if host.active is False:  # a balancer may take half a minute to notice
        return False
    # A balancer that sends a host in maintenance requests though another drains it has forgotten, and is told again.
    if host.maintenance is not None and balancer.drained_on(rotations, host.name):
        return False
    return balancer.serving(rotations.values(), host.name)


def _stays_drained(rotations: Mapping[str, Rotation], host: EngineHost) -> bool:
    return host.maintenance is not None and not _serving(rotations, host)
