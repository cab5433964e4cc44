"""What a bench loads, and whether it may: engines that get no requests, unless somebody says so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from barewind.balancer import commands as balancer
from barewind.balancer.commands import Rotation
from barewind.balancer.maintenance import Maintenance
from barewind.bench.commands import Seen
from barewind.errors import BarewindError
from barewind.plan.engine import EnginePlan
from barewind.spec.site import Site


@dataclass(frozen=True)
class Target:
    """Engines of one host, or the endpoint of a balancer.

    + plans: of the engines; of the endpoint, of the engine whose image and weights its generator takes
    + balancer: whose endpoint it is; None: engines are asked
    + url: of the endpoint
    """

    name: str
    plans: tuple[EnginePlan, ...]
    balancer: str | None = None
    url: str = ""

    @property
    def host(self) -> str:
        """Where the load generator runs."""
        return self.plans[0].spec.host

    @property
    def urls(self) -> list[str]:
        """What is asked, by each generator."""
        return [self.url] if self.balancer else [plan.url for plan in self.plans]


def of_host(site: Site, plans: Mapping[str, EnginePlan], host: str | None) -> Target:
    """All engines of a host; None: of the only one.

    Raises:
        BarewindError: there is no such host, or it is not said which one.
    """
    if host is None and len(site.engine_hosts) == 1:
        host = next(iter(site.engine_hosts))
    if host not in site.engine_hosts:
        said = (
            "say which host with --host, or which engine with --replica" if host is None else f"no engine host '{host}'"
        )
        raise BarewindError(f"{said}; hosts: {', '.join(site.engine_hosts)}")
    return Target(host, tuple(plans[spec.name] for spec in site.engine_hosts[host]))


def of_replica(plans: Mapping[str, EnginePlan], name: str) -> Target:
    """One engine by its name.

    Raises:
        BarewindError: there is none of that name.
    """
    if name not in plans:
        raise BarewindError(f"no engine '{name}'; engines: {', '.join(plans)}")
    return Target(name, (plans[name],))


def of_endpoint(site: Site, plans: Mapping[str, EnginePlan], host: str | None) -> Target:
    """The endpoint of the first balancer; its generator runs on an engine host, by default the first.

    Raises:
        BarewindError: there is no such host, or no balancer.
    """
    if not site.balancers:
        raise BarewindError("--endpoint: the inventory has no balancer; bench a host")
    name, spec = next(iter(site.balancers.items()))
    first = of_host(site, plans, host or next(iter(site.engine_hosts))).plans[0]
    return Target(name, (first,), name, f"http://{spec.url_host}:{spec.endpoint_port}")


def problems(
    target: Target, seen: Sequence[Seen], drained: Maintenance | None, rotations: Mapping[str, Rotation], *, told: bool
) -> Iterator[str]:
    """Why this may not be loaded now, each with the next step.

    + seen: how its engines stand, in their order
    + drained: who has put its host into maintenance
    + rotations: what each balancer does
    + told: somebody has said that engines in rotation shall be loaded
    """
    for plan, engine in zip(target.plans, seen, strict=True):
        if not engine.image:
            yield f"{plan.name}: the image {plan.pinned_image} is not on the host; deploy it first"
        if target.balancer is None and engine.release != plan.release:
            runs = "no engine runs" if engine.release is None else f"it serves release {engine.release}"
            yield f"{plan.name}: {runs}, its plan is release {plan.release}, which the estimate is of; deploy it first"
    if told:
        return
    if target.balancer is not None:
        yield f"{target.name}: its requests go to engines that serve; say --in-rotation if these shall have this load too"
        return
    using = {
        plan.name: [name for name, rotation in rotations.items() if balancer.serving([rotation], plan.name)]
        for plan in target.plans
    }
    for name, balancers in using.items():
        if balancers:
            yield (
                f"{name}: in rotation on {', '.join(balancers)}; drain it first: pyinfra INVENTORY tasks/drain.py --limit "
                f"{target.host}; or say --in-rotation if its clients shall wait for this load"
            )
    if not any(using.values()) and rotations and drained is None:
        # Nobody sends it requests for another reason, and whatever that is may end while the load is on it.
        yield (
            f"{target.host}: no balancer sends it requests, but nobody has drained it; drain it first: pyinfra INVENTORY "
            f"tasks/drain.py --limit {target.host}; or say --in-rotation"
        )
