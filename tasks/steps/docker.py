"""Docker Engine on the engine hosts."""

from __future__ import annotations

from pyinfra import host
from pyinfra.api import deploy

from barewind.docker.operations import installed
from barewind.docker.plan import docker_plan
from barewind.hosts.operations import ManagedFile
from barewind.tasks.run import EVERY, Hosts, engine_plan, host_facts

_INSTALL = 1800  # seconds


@deploy("Docker")
def install(hosts: Hosts = EVERY) -> None:
    """Install and configure it."""
    plan = engine_plan(hosts)
    facts = host_facts()[host.name].facts
    if plan is None or facts is None:
        return
    docker = docker_plan(plan.spec, facts["os"])
    installed(
        name="Engine",
        packages=[str(package) for package in docker.packages],
        held=list(docker.held),
        replaced=list(docker.replaced),
        settings=docker.settings,
        files=[ManagedFile(file.path, file.content) for file in docker.files],
        _timeout=_INSTALL,
    )
