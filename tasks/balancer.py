"""HAProxy over every engine host of the inventory."""

from __future__ import annotations

from pyinfra.api import deploy

from barewind import render
from barewind.balancer import STATE_PROGRAM
from barewind.operations import ManagedFile
from barewind.operations.haproxy import configured
from tasks.fleet import balancer_spec, fleet

PACKAGES = ["haproxy", "curl", "socat"]
_INSTALL = 900  # seconds


@deploy("Balancer")
def balance() -> None:
    """Have every balancer send requests to every engine host."""
    spec = balancer_spec()
    if spec is not None:
        config = render.haproxy_config(spec, list(fleet().site.engines.values()))
        configured(
            name="HAProxy",
            packages=PACKAGES,
            config=ManagedFile(render.HAPROXY_FILE, config),
            drop_in=ManagedFile(render.HAPROXY_DROP_IN, render.haproxy_drop_in()),
            others=[ManagedFile(STATE_PROGRAM, render.haproxy_state_program(), mode="755")],
            _timeout=_INSTALL,
        )
