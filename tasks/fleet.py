"""What every step asks: the validated site, the plan of this host, and which part it plays."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

from pyinfra import host, inventory
from pyinfra.api.exceptions import PyinfraError

from barewind import lock
from barewind.drivers.sources import check_keys
from barewind.errors import BarewindError
from barewind.inventory import entries
from barewind.plan import EnginePlan, check, plan_site, require_locked
from barewind.site import Site, read_site
from barewind.spec import BalancerSpec
from tasks.once import once

Hosts = Container[str]  # names of hosts that a step is for


class _Every(Container[str]):
    def __contains__(self, name: object) -> bool:
        return True


EVERY = _Every()


@dataclass(frozen=True)
class Fleet:
    """The whole inventory, planned once per run."""

    site: Site
    plans: dict[str, EnginePlan]


@once
def fleet() -> Fleet:
    """The fleet of this run.

    Raises:
        PyinfraError: the group data or the lock file is not right; the text says what.
    """
    try:
        site = read_site(entries(inventory))
        plans = plan_site(site, lock.read(site.lock_file))
        check(plans)
        require_locked(plans, site.lock_file)
        check_keys(list(site.engines.values()))
    except BarewindError as error:
        raise PyinfraError(f"nothing was changed\n{error}") from error
    return Fleet(site, plans)


def engine_plan(hosts: Hosts = EVERY) -> EnginePlan | None:
    """The plan of the host in hand, or None on a balancer, or if it is not one of `hosts`."""
    return fleet().plans.get(host.name) if host.name in hosts else None


def balancer_spec() -> BalancerSpec | None:
    """The spec of the host in hand, or None on an engine host."""
    return fleet().site.balancers.get(host.name)
