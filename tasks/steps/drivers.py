"""Drivers of accelerators: software, a restart if need be, services, a look at the result."""

from __future__ import annotations

from functools import partial
from typing import cast

from pyinfra import host
from pyinfra.api import deploy

from barewind.docker.plan import docker_plan
from barewind.drivers import operations as drivers
from barewind.drivers import steps
from barewind.drivers.model import DriverFacts, DriverPlan
from barewind.drivers.plan import driver_plan, unpublished
from barewind.drivers.vendors import VENDORS
from barewind.plan.names import UNITS
from barewind.preflight.checks import SUPPORTED_SYSTEMS
from barewind.tasks.run import EVERY, Hosts, engine_plan, fleet, host_facts, once, system

_INSTALL = 3600  # seconds; DKMS compiles the modules on the host


def install(hosts: Hosts = EVERY) -> None:
    """Have the planned drivers on hosts, restart those that need it, and look at the result; vendor by vendor."""
    for vendor in host.loop(VENDORS.values()):
        deploy(vendor.title)(partial(_install, vendor.name, hosts))()


def _install(vendor: str, hosts: Hosts) -> None:
    """The drivers of the host in hand, if they are this vendor's, ours to manage and not right already."""
    engine = engine_plan(hosts)
    plan = plan_of(host.name)
    if engine is None or plan is None or plan.vendor != vendor or settled(host.name):
        return
    timeout = engine.spec.reboot_timeout
    drivers.installed(name="Software", plan=plan, units=UNITS, _timeout=_INSTALL + engine.spec.shutdown_timeout)
    drivers.loaded(name="Kernel module", plan=plan)
    drivers.restarted(name="Restart, if need be", plan=plan, timeout=timeout, _timeout=timeout + 600)
    drivers.started(name="Services", plan=plan)
    drivers.verified(name="Accelerators are as planned", plan=engine, _timeout=600)


def plan_of(name: str) -> DriverPlan | None:
    """The driver plan of a host of this run; None on balancers and where the site keeps its own drivers."""
    return _plans().get(name)


@once
def _plans() -> dict[str, DriverPlan | None]:
    return {name: _plan(name) for name in fleet().hosts if name in host_facts()}


def _plan(name: str) -> DriverPlan | None:
    facts = host_facts()[name].facts
    if facts is None or facts["accelerators"] is None:
        return None
    spec = fleet().hosts[name].spec
    if facts["os"] not in SUPPORTED_SYSTEMS or unpublished(spec, system(facts)):  # preflight says so
        return None
    return driver_plan(spec, system(facts))


def settled(name: str) -> bool:
    """Whether a host's drivers are as planned: its facts leave nothing to do."""
    plan, facts = plan_of(name), host_facts()[name].facts
    if plan is None or facts is None:
        return False
    return steps.settled(plan, cast("DriverFacts", facts), docker_plan(fleet().hosts[name].spec, facts["os"]).runtimes)


def reasons(name: str) -> list[str]:
    """Why a host must be drained for its drivers."""
    plan, facts = plan_of(name), host_facts()[name].facts
    return [] if plan is None or facts is None else steps.drain_reasons(plan, cast("DriverFacts", facts))
