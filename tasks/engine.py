"""The engine: a systemd unit that runs the container in the foreground."""

from __future__ import annotations

from pyinfra.api import deploy

from barewind import render
from barewind.facts.weights import INTACT
from barewind.operations import ManagedFile
from barewind.operations.engine import restarted, serving
from barewind.plan import CONTAINER, EnginePlan
from tasks.fleet import EVERY, Hosts, engine_plan, fleet

_START = 180  # seconds beyond what its engine may take to stop


@deploy("Engine")
def serve(hosts: Hosts = EVERY) -> None:
    """Have engine hosts run their release."""
    plan = engine_plan(hosts)
    if plan is not None:
        run_release(plan, str(plan.release), render.engine_unit(plan))


@deploy("Engine")
def restart(hosts: Hosts = EVERY) -> None:
    """Have engine hosts begin anew with what they run."""
    plan = engine_plan(hosts)
    if plan is not None:
        restarted(name="Restart", unit=render.UNIT, _timeout=plan.spec.shutdown_timeout + _START)


def run_release(plan: EnginePlan, release: str, unit: str) -> None:
    """Have the host in hand run a release; `unit` is the text of its unit file."""
    serving(
        name="Unit",
        unit=render.UNIT,
        release=release,
        container=CONTAINER,
        unit_file=ManagedFile(render.UNIT_FILE, unit),
        firewall=ManagedFile(
            render.FIREWALL_FILE, render.engine_firewall(plan.spec, list(fleet().site.balancers.values()))
        ),
        others=[ManagedFile(render.CHECK_PROGRAM, render.check_weights(INTACT), mode="755")],
        _timeout=plan.spec.shutdown_timeout + _START,
    )
