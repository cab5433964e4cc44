"""Docker Engine on the engine hosts."""

from __future__ import annotations

from pyinfra import host
from pyinfra.api import deploy

from barewind import runtime
from barewind.operations import ManagedFile
from barewind.operations.docker import engine
from tasks.fleet import EVERY, Hosts, engine_plan
from tasks.survey import survey

_INSTALL = 1800  # seconds


@deploy("Docker")
def install(hosts: Hosts = EVERY) -> None:
    """Install and configure it."""
    plan = engine_plan(hosts)
    facts = survey()[host.name].facts
    if plan is None or facts is None:
        return
    wanted = runtime.plan(plan.spec, facts["os"])
    engine(
        name="Engine",
        packages=[str(package) for package in wanted.packages],
        held=list(wanted.held),
        replaced=list(wanted.replaced),
        settings=wanted.settings,
        files=[ManagedFile(file.path, file.content) for file in wanted.files],
        _timeout=_INSTALL,
    )
