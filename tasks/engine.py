"""The engine: a systemd unit that runs the container in the foreground."""

from __future__ import annotations

from pyinfra.api import deploy

from barewind import render
from barewind.facts.weights import INTACT
from barewind.operations import ManagedFile
from barewind.operations.engine import serving
from barewind.plan import CONTAINER
from tasks.fleet import EVERY, Hosts, engine_plan, fleet


@deploy("Engine")
def serve(hosts: Hosts = EVERY) -> None:
    """Have engine hosts run their release."""
    plan = engine_plan(hosts)
    if plan is not None:
        serving(
            name="Unit",
            unit=render.UNIT,
            release=str(plan.release),
            container=CONTAINER,
            unit_file=ManagedFile(render.UNIT_FILE, render.engine_unit(plan)),
            firewall=ManagedFile(
                render.FIREWALL_FILE, render.engine_firewall(plan.spec, list(fleet().site.balancers.values()))
            ),
            others=[ManagedFile(render.CHECK_PROGRAM, render.check_weights(INTACT), mode="755")],
            _timeout=plan.spec.shutdown_timeout + 180,
        )
