"""The engine's systemd unit."""

from __future__ import annotations

import shlex
from collections.abc import Generator

from pyinfra import host
from pyinfra.api import StringCommand, operation

from barewind.facts.engine import EngineUnit
from barewind.operations import ManagedFile, known


@operation()
def serving(
    unit: str,
    release: str,
    container: str,
    unit_file: ManagedFile,
    firewall: ManagedFile,
    others: list[ManagedFile],
) -> Generator[StringCommand, None, None]:
    """Have a unit run a release.

    The engine is restarted only when it does not run, or runs another release: a changed time limit of the unit is
    taken over at the next start, a changed firewall at once. systemd is told to reload only when the unit's file changed.

    + unit: name of the unit
    + release: id of the release, which the container bears as its label
    + container: name of the container
    + unit_file: the unit
    + firewall: rules for nft
    + others: what else the unit needs

    **Example:**

    .. code:: python

        serving(name="Engine", unit="barewind-engine.service", release="0123456789ab", container="barewind-engine", ...)
    """
    files = [unit_file, firewall, *others]
    paths = [file.path for file in files]
    facts = known(host.get_fact(EngineUnit, unit=unit, paths=paths, container=container), host.name, unit)
    changed = [file for file in files if file.differs(facts["files"])]
    for file in changed:
        yield file.write()
    if unit_file in changed or facts["needs_reload"]:
        yield StringCommand("systemctl daemon-reload")
    if not facts["enabled"]:
        yield StringCommand(f"systemctl enable {shlex.quote(unit)}")
    if facts["release"] != release or not facts["active"]:
        yield StringCommand(f"systemctl restart {shlex.quote(unit)}")
    elif firewall in changed:
        yield StringCommand(f"nft -f {shlex.quote(firewall.path)}")


@operation(is_idempotent=False)
def restarted(unit: str) -> Generator[StringCommand, None, None]:
    """Restart a unit, running or not; what it runs stays the same.

    + unit: name of the unit

    **Example:**

    .. code:: python

        restarted(name="Engine", unit="barewind-engine.service")
    """
    yield StringCommand(f"systemctl restart {shlex.quote(unit)}")
