"""What NVIDIA's and AMD's drivers have in common: software, a restart if need be, services, a look at the result."""

from __future__ import annotations

from functools import lru_cache

from pyinfra import host

from barewind import render, runtime
from barewind.drivers import DriverPlan, steps
from barewind.drivers.plan import driver_plan
from barewind.operations import drivers
from barewind.preflight import SUPPORTED_SYSTEMS
from tasks.fleet import Hosts, engine_plan, fleet
from tasks.survey import survey, system

_INSTALL = 3600  # seconds; DKMS compiles the modules on the host


def install_drivers(vendor: str, hosts: Hosts) -> None:
    """The drivers of the host in hand, if they are this vendor's, ours to manage and not right already."""
    engine = engine_plan(hosts)
    plan = plan_of(host.name)
    if engine is None or plan is None or plan.vendor != vendor or settled(host.name):
        return
    timeout = engine.spec.reboot_timeout
    drivers.software(name="Software", plan=plan, unit=render.UNIT, _timeout=_INSTALL + engine.spec.shutdown_timeout)
    drivers.loaded(name="Kernel module", plan=plan)
    drivers.restarted(name="Restart, if need be", plan=plan, timeout=timeout, _timeout=timeout + 600)
    drivers.services(name="Services", plan=plan)
    drivers.ready(name="Accelerators are as planned", plan=engine, _timeout=600)


@lru_cache(maxsize=4096)
def plan_of(name: str) -> DriverPlan | None:
    """The driver plan of a host of this run; None on balancers and where the site keeps its own drivers."""
    engine, seen = fleet().plans.get(name), survey().get(name)
    if engine is None or seen is None or seen.facts is None or seen.facts["accelerators"] is None:
        return None
    if seen.facts["os"] not in SUPPORTED_SYSTEMS:  # preflight says so
        return None
    return driver_plan(engine.spec, system(seen.facts))


def settled(name: str) -> bool:
    """Whether a host's drivers are as planned: the survey found nothing to do."""
    plan, facts = plan_of(name), survey()[name].facts
    if plan is None or facts is None:
        return False
    runtimes = runtime.plan(fleet().plans[name].spec, facts["os"]).settings["runtimes"]
    if not set(runtimes) <= set(facts["accelerators"]["toolkit"]["runtimes"]):
        return False
    return not (steps.software(plan, facts) or steps.services(plan, facts) or steps.reasons(plan, facts))


def reasons(name: str) -> list[str]:
    """Why a host must leave service for its drivers."""
    plan, facts = plan_of(name), survey()[name].facts
    return [] if plan is None or facts is None else steps.reasons(plan, facts)
