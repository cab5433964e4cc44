"""Who may ask the endpoint, and what sums who asked. Alone: pyinfra INVENTORY barewind.tasks.steps.keys.tell"""

from __future__ import annotations

from pyinfra.api import deploy
from pyinfra.api.exceptions import PyinfraError

from barewind.errors import BarewindError
from barewind.hosts.operations import ManagedFile
from barewind.hosts.problem import Problem
from barewind.keys import file, plan, usage
from barewind.keys.file import KeyFile
from barewind.keys.operations import counted, told
from barewind.tasks.run import balancer_spec, fleet, host_facts, once


@once
def content() -> KeyFile:
    """The keys of the site when the run begins.

    Raises:
        PyinfraError: the file is not right; the text says all that is wrong.
    """
    try:
        return file.read(fleet().site.endpoint_keys)
    except BarewindError as error:
        raise PyinfraError(f"nothing was changed\n{error}") from error


def problems() -> list[Problem]:
    """For preflight: balancers that have the keys of a later file, or would let nobody in."""
    site = fleet().site
    nobody = {name: plan.for_nobody(content(), site.endpoint_keys, spec) for name, spec in site.balancers.items()}
    facts = {name: known.facts for name, known in host_facts().items() if name in fleet().site.balancers}
    found = {name: plan.newer(known["keys"], content().serial) for name, known in facts.items() if known is not None}
    return [Problem(name, *problem) for name, problem in (*nobody.items(), *found.items()) if problem]


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
