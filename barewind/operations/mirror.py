"""The fleet's own registry."""

from __future__ import annotations

import shlex
from collections.abc import Generator

from pyinfra import host
from pyinfra.api import StringCommand, operation

from barewind.facts.mirror import MirrorHost
from barewind.operations import ManagedFile, installed, known

_LOG_LINES = 10


@operation()
def serving(
    packages: list[str],
    firewall: ManagedFile,
    registry: list[ManagedFile],
    units: list[ManagedFile],
    others: list[ManagedFile],
    unit: str,
    timers: list[str],
) -> Generator[StringCommand, None, None]:
    """Have a registry run.

    Its files come before its package, so that it never listens with another configuration or without its firewall.

    + packages: packages to install
    + firewall: rules for nft
    + registry: files that the registry reads when it starts
    + units: files of systemd
    + others: what else it needs
    + unit: the registry's unit
    + timers: timers beside it

    **Example:**

    .. code:: python

        serving(name="Registry", packages=["docker-registry"], unit="docker-registry.service", ...)
    """
    files = {file.path: file for file in (firewall, *registry, *units, *others)}
    facts = known(
        host.get_fact(MirrorHost, names=packages, paths=list(files), unit=unit, timers=timers), host.name, "the mirror"
    )
    changed = {path for path, file in files.items() if file.differs(facts["files"])}
    for path in files:
        if path in changed:
            yield files[path].write()
    yield from installed(packages, facts["packages"], [])
    if facts["needs_reload"] or changed & {file.path for file in units}:
        yield StringCommand("systemctl daemon-reload")
    idle = [one for one in timers if not (one in facts["enabled"] and one in facts["running"])]
    if idle:
        yield StringCommand(f"systemctl enable --now {shlex.join(idle)}")
    if unit not in facts["enabled"]:
        yield StringCommand(f"systemctl enable {shlex.quote(unit)}")
    if unit not in facts["running"] or changed & {file.path for file in registry}:
        yield StringCommand(
            f"systemctl restart {shlex.quote(unit)} || "
            f"{{ journalctl -u {shlex.quote(unit)} -n {_LOG_LINES} --no-pager -o cat >&2; "
            f"echo {shlex.quote(f'{host.name}: {unit} does not start; the log above says why')} >&2; exit 1; }}"
        )
    elif firewall.path in changed or not facts["firewall"]:
        yield StringCommand(f"nft -f {shlex.quote(firewall.path)}")
