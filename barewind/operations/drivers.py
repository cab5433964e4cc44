"""Drivers of accelerators: software, the restart it may need, services, and a look at the result."""

from __future__ import annotations

import shlex
from collections.abc import Generator
from time import monotonic

import gevent
from pyinfra import host, logger
from pyinfra.api import FunctionCommand, Host, State, StringCommand, operation
from pyinfra.api.exceptions import FactProcessError

from barewind.accelerator_checks import check
from barewind.drivers import DriverPlan, steps
from barewind.facts import accelerators, script, split
from barewind.facts.driver_host import DriverHost
from barewind.operations import known
from barewind.operations.restart import restart
from barewind.operations.shell import run
from barewind.plan import EnginePlan
from barewind.problem import Problem

_INTERVAL = 3.0  # seconds between two looks


@operation()
def software(plan: DriverPlan, unit: str) -> Generator[StringCommand, None, None]:
    """Have a driver's repositories, settings and packages, at exact versions and held.

    + plan: what the host shall have
    + unit: the engine's unit, stopped before its driver changes under it

    **Example:**

    .. code:: python

        software(name="Driver", plan=driver_plan(spec, system), unit="barewind-engine.service")
    """
    todo = steps.software(plan, _facts(plan))
    if any(step.disruptive for step in todo):
        name = shlex.quote(unit)
        yield StringCommand(f"! systemctl cat {name} >/dev/null 2>&1 || systemctl stop {name}")
    yield from map(_command, todo)


@operation()
def loaded(plan: DriverPlan) -> Generator[StringCommand, None, None]:
    """Load an installed module that is not loaded, unless another driver holds the cards.

    + plan: what the host shall have
    """
    yield from map(_command, steps.loading(plan, _facts(plan)))


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


@operation()
def services(plan: DriverPlan) -> Generator[StringCommand, None, None]:
    """Have a driver's daemons run, and containers find the devices.

    + plan: what the host shall have
    """
    yield from map(_command, steps.services(plan, _facts(plan)))


@operation(is_idempotent=False)
def ready(plan: EnginePlan, timeout: int = 180) -> Generator[FunctionCommand, None, None]:
    """Wait until the host's accelerators are those of the plan and everything they need runs; fail with what is not.

    Right after a start the cards of a board are still joining its fabric: that takes up to a minute.

    + plan: what the host serves
    + timeout: seconds
    """
    yield FunctionCommand(_await_ready, (), {"plan": plan, "timeout": timeout})


def _await_ready(state: State, host: Host, plan: EnginePlan, timeout: int) -> bool:
    end = monotonic() + timeout
    while True:
        answer = run(state, host, script(**accelerators.SECTIONS))
        try:
            problems = check(plan, accelerators.read(split(answer.output.splitlines())), ready=True)
        except FactProcessError as error:
            problems = [Problem(host.name, f"its state cannot be read ({answer.problem or error})", "log in, mend it")]
        if not problems:
            return True
        if monotonic() >= end:
            for one in problems:
                logger.error(f"{host.print_prefix}{one.host}: {one.finding}. {one.remedy}")
            logger.error(f"{host.print_prefix}{host.name}: its engine was not started; mend it and deploy again")
            return False
        gevent.sleep(_INTERVAL)


def _facts(plan: DriverPlan) -> steps.Facts:
    facts: steps.Facts = known(host.get_fact(DriverHost, paths=list(plan.paths)), host.name, "the drivers")
    return facts


def _command(step: steps.Step) -> StringCommand:
    failed = shlex.quote(
        f"{host.name}: '{step.what}' failed, see above. The host is out of service and stays so; mend it and deploy again"
    )
    command = f"{{ {step.command}\n}} || {{ echo {failed} >&2; exit 1; }}"
    return StringCommand(command) if step.text is None else StringCommand(command, _stdin=step.text)
