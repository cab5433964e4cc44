"""Drivers of accelerators: software, the restart it may need, services, and a look at the result."""

from __future__ import annotations

import shlex
from collections.abc import Generator
from time import monotonic

import gevent
from pyinfra import host, logger
from pyinfra.api import FunctionCommand, Host, State, StringCommand, operation
from pyinfra.api.exceptions import FactProcessError

from barewind.drivers import accelerators, steps
from barewind.drivers.checks import check
from barewind.drivers.facts import DriverHost
from barewind.drivers.model import DriverFacts, DriverPlan, Step
from barewind.hosts.operations import known
from barewind.hosts.problem import Problem
from barewind.hosts.restart import restart
from barewind.hosts.script import script, split
from barewind.hosts.shell import run
from barewind.plan.engine import EnginePlan

_INTERVAL = 3.0  # seconds between two looks


@operation()
def installed(plan: DriverPlan, units: str) -> Generator[StringCommand, None, None]:
    """Have a driver's repositories, settings and packages, at exact versions and held.

    + plan: what the host shall have
    + units: the engines' units as words of a shell, patterns too; stopped before the driver changes under them

    **Example:**

    .. code:: python

        installed(name="Driver", plan=driver_plan(spec, system), units="barewind-engine.service")
    """
    todo = steps.software(plan, _facts(plan))
    if any(step.disruptive for step in todo):
        yield StringCommand(f"! systemctl cat {units} >/dev/null 2>&1 || systemctl stop {units}")
    yield from map(_command, todo)
    if not todo:
        host.noop(f"{plan.vendor} driver {plan.version} is already installed and held")


@operation()
def loaded(plan: DriverPlan) -> Generator[StringCommand, None, None]:
    """Load an installed module that is not loaded, unless another driver holds the cards.

    + plan: what the host shall have
    """
    todo = steps.loading(plan, _facts(plan))
    yield from map(_command, todo)
    if not todo:
        host.noop(f"module {plan.module} is already loaded, or another driver holds the cards")


@operation()
def restarted(plan: DriverPlan, timeout: int) -> Generator[FunctionCommand, None, None]:
    """Restart a host on which something else runs than what is installed, and wait until it is back.

    + plan: what the host shall have
    + timeout: seconds until it must have come back

    **Example:**

    .. code:: python

        restarted(name="Restart", plan=driver_plan(spec, system), timeout=1800)
    """
    reasons = steps.reboot_reasons(plan, _facts(plan))
    if reasons:
        yield FunctionCommand(restart, (), {"timeout": timeout, "reasons": reasons})
    else:
        host.noop("what is installed already runs")


@operation()
def started(plan: DriverPlan) -> Generator[StringCommand, None, None]:
    """Have a driver's daemons run, and containers find the devices.

    + plan: what the host shall have
    """
    todo = steps.services(plan, _facts(plan))
    yield from map(_command, todo)
    if not todo:
        host.noop("the driver's daemons already run, and containers find the devices")


@operation(is_idempotent=False)
def verified(plan: EnginePlan, timeout: int = 180) -> Generator[FunctionCommand, None, None]:
    """Wait until the host's accelerators are those of the plan and everything they need runs; fail with what is not.

    Right after a start the cards of a board are still joining its fabric: that takes up to a minute.

    + plan: what the host serves
    + timeout: seconds
    """
    yield FunctionCommand(_await_accelerators, (), {"plan": plan, "timeout": timeout})


def _await_accelerators(state: State, host: Host, plan: EnginePlan, timeout: int) -> bool:
    end = monotonic() + timeout
    while True:
        answer = run(state, host, script(**accelerators.sections()))
        try:
            problems = check(plan, accelerators.read(split(answer.output.splitlines())), ready=True)
        except FactProcessError as error:
            problems = [Problem(host.name, f"its state cannot be read ({answer.problem or error})", "log in, mend it")]
        if not problems:
            return True
        if monotonic() >= end:
            for problem in problems:
                logger.error(f"{host.print_prefix}{problem.host}: {problem.finding}. {problem.remedy}")
            logger.error(f"{host.print_prefix}{host.name}: its engine was not started; mend it and deploy again")
            return False
        gevent.sleep(_INTERVAL)


def _facts(plan: DriverPlan) -> DriverFacts:
    facts: DriverFacts = known(host.get_fact(DriverHost, paths=list(plan.paths)), host.name, "the drivers")
    return facts


def _command(step: Step) -> StringCommand:
    failed = shlex.quote(
        f"{host.name}: '{step.title}' failed, see above. The host is out of service and stays so; mend it and deploy again"
    )
    command = f"{{ {step.command}\n}} || {{ echo {failed} >&2; exit 1; }}"
    return StringCommand(command) if step.stdin is None else StringCommand(command, _stdin=step.stdin)
