"""Who may ask the endpoint, and what sums who asked. Alone: pyinfra INVENTORY barewind.tasks.steps.keys.tell"""

from __future__ import annotations

from pyinfra.api import deploy

from barewind.hosts.operations import ManagedFile
from barewind.keys import usage
from barewind.keys.operations import counted, told
from barewind.tasks.run import balancer_spec, fleet


@deploy("Keys")
def tell() -> None:
    """Have every balancer know the keys of the site's file, and sum their usage."""
    spec = balancer_spec()
    if spec is None:
        return
    told(name="Who may ask", keys=fleet().site.endpoint_keys)
    program, units = usage.program(spec.usage_retention), usage.units()
    counted(
        name="Usage",
        program=ManagedFile(program.path, program.content, program.mode),
        units=[ManagedFile(unit.path, unit.content, unit.mode) for unit in units],
        timer=usage.TIMER,
    )
