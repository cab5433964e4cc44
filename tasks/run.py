"""The run of pyinfra that is under way: what is worked out once for all its hosts, and what it remembers."""

from __future__ import annotations

import time
from collections.abc import Callable, Container
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar

from gevent.lock import RLock
from pyinfra import host, inventory, state
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.facts import get_fact
from pyinfra.context import ctx_host, ctx_state

from barewind.balancer.maintenance import Maintenance
from barewind.balancer.operations.balancers import Balancers
from barewind.drivers.model import System
from barewind.drivers.repositories import check_keys
from barewind.errors import BarewindError
from barewind.hosts.ask import ask
from barewind.lease.operations import Lease
from barewind.lock import file as lock
from barewind.plan.checks import check, require_locked
from barewind.plan.engine import EnginePlan, by_host, plan_site
from barewind.preflight.facts import HostFacts, of_engines, of_other
from barewind.site.inventory import entries
from barewind.site.read import read_site
from barewind.spec.keys import BalancerSpec
from barewind.spec.site import Site

Result = TypeVar("Result")

_ATTRIBUTE = "barewind_run"


class Run:
    """One run. Every host loads deploy.py, all of them side by side: the first that needs something works it out for all.

    It lives as long as pyinfra's state, so that another run of the same process starts without any of it.
    """

    def __init__(self) -> None:
        """A run of which nothing is known yet."""
        self.lease: Lease | None = None  # None: it has not been taken
        self._results: dict[Callable[[], Any], Any] = {}
        self._errors: dict[Callable[[], Any], Exception] = {}
        self._locks: dict[Callable[[], Any], RLock] = {}

    @classmethod
    def current(cls) -> Run:
        """The run under way."""
        attributes = vars(ctx_state.get())
        if _ATTRIBUTE not in attributes:
            attributes[_ATTRIBUTE] = cls()
        run: Run = attributes[_ATTRIBUTE]
        return run

    def once(self, function: Callable[[], Result]) -> Result:
        """The result of a function that runs for the first caller; the others wait for it, and get its error if it fails."""
        if function not in self._results:
            self._work_out(function)
        result: Result = self._results[function]
        return result

    def _work_out(self, function: Callable[[], Any]) -> None:
        with self._locks.setdefault(function, RLock()):
            if function in self._errors:
                raise self._errors[function]
            if function not in self._results:
                try:
                    self._results[function] = function()
                except Exception as error:
                    self._errors[function] = error
                    raise


def once(function: Callable[[], Result]) -> Callable[[], Result]:
    """Have a function run once per run (functools.cache would let each host do it, and remember it for the next run)."""

    @wraps(function)
    def call() -> Result:
        return Run.current().once(function)

    return call


Hosts = Container[str]  # names of engines that a step is for; of a host that has one it is its own


class _Every(Container[str]):
    def __contains__(self, name: object) -> bool:
        return True


EVERY = _Every()


@dataclass(frozen=True)
class Fleet:
    """The whole inventory, planned once per run.

    + plans: of every engine, by its name
    + hosts: a plan of each engine host, for what its engines have in common
    """

    site: Site
    plans: dict[str, EnginePlan]
    hosts: dict[str, EnginePlan]


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
        check_keys(site.engines.values())
    except BarewindError as error:
        raise PyinfraError(f"nothing was changed\n{error}") from error
    return Fleet(site, plans, by_host(plans))


def engine_plan(engines: Hosts = EVERY) -> EnginePlan | None:
    """What the engines of the host in hand have in common; None on a balancer, or if none of them is one of `engines`."""
    return next(iter(engine_plans(engines)), None)


def engine_plans(engines: Hosts = EVERY) -> list[EnginePlan]:
    """The plans of the engines of the host in hand that are some of `engines`; a host that has one engine has its name."""
    plans = fleet().plans
    return [plans[spec.name] for spec in fleet().site.engine_hosts.get(host.name, ()) if spec.name in engines]


class HostsOf(Container[str]):
    """The hosts of engines, by name: those of which some engine is one of these."""

    def __init__(self, engines: Hosts) -> None:
        """Nothing is worked out before somebody asks: every host of a batch does, about a few."""
        self._engines = engines

    def __contains__(self, name: object) -> bool:
        return any(spec.name in self._engines for spec in fleet().site.engine_hosts.get(str(name), ()))


def balancer_spec() -> BalancerSpec | None:
    """The spec of the host in hand, or None on an engine host."""
    return fleet().site.balancers.get(host.name)


@once
def balancers() -> Balancers:
    """Every balancer, in this run or not."""
    return Balancers(ctx_state.get(), sorted(fleet().site.balancers))


@dataclass(frozen=True)
class TimedFacts:
    """Facts of one host, None where they cannot be read; `now` is the controller's clock then, seconds since the epoch."""

    facts: dict[str, Any] | None
    now: float

    def active(self, replica: int | None) -> bool | None:
        """Whether its engine of this number, or its only one, runs; None if that cannot be read."""
        return None if self.facts is None else bool(self.facts["engines"][replica or 0]["active"])

    def running(self, replica: int | None) -> str | None:
        """The release that its engine of this number, or its only one, serves; None if it does not run."""
        if self.facts is None or not self.active(replica):
            return None
        return self.facts["engines"][replica or 0]["release"] or None

    @property
    def maintenance(self) -> Maintenance | None:
        """Who has taken it into maintenance, if somebody has."""
        return None if self.facts is None else self.facts["drained"]


@once
def host_facts() -> dict[str, TimedFacts]:
    """Facts of every host of this run, by name, from before it: one round trip each."""
    names = sorted(member.name for member in state.inventory.get_active_hosts())
    return ask(names, _read_facts, at_a_time=state.config.PARALLEL).answers


def facts_of(engine: str) -> TimedFacts | None:
    """Facts of the host of an engine; None if it is not in this run."""
    return host_facts().get(fleet().site.engines[engine].host)


def running(engine: str) -> str | None:
    """The release that an engine served before this run; None if it did not run, or its host is not in the run."""
    facts = facts_of(engine)
    return None if facts is None else facts.running(fleet().site.engines[engine].replica)


def engines_of_run() -> list[str]:
    """Names of the engines of this run, in the inventory's order."""
    return [name for name, spec in fleet().site.engines.items() if spec.host in host_facts()]


def system(facts: dict[str, Any]) -> System:
    """What a driver plan needs to know of a host."""
    return System.of(facts["os"], facts["accelerators"])


def _of_other(site: Site, name: str) -> dict[str, Any]:
    if name in site.mirrors:
        return of_other(site.mirrors[name].mirror_port)
    if name in site.monitors:
        return of_other(site.monitors[name].monitor_port, site.monitors[name].monitor_dir)
    return of_other(site.balancers[name].endpoint_port)


def _read_facts(name: str) -> TimedFacts:
    plan, site = fleet().hosts.get(name), fleet().site
    wanted = _of_other(site, name) if plan is None else of_engines(plan, site.engine_hosts[name])
    asked, before = state.inventory.get_host(name), time.time()
    with ctx_host.use(asked):
        facts = get_fact(
            state,
            asked,
            HostFacts,
            kwargs=wanted,
            apply_failed_hosts=False,
        )
    return TimedFacts(facts, (before + time.time()) / 2)  # the host read its clock somewhere in between
