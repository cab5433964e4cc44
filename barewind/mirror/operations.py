"""The fleet's own registry."""

from __future__ import annotations

import shlex
from collections.abc import Generator, Iterator, Mapping
from typing import Any

from pyinfra import host
from pyinfra.api import StringCommand, operation

from barewind.hosts.operations import ManagedFile, installed, known
from barewind.mirror.facts import MirrorHost

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
    """Have a registry serve the fleet's images.

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
    commands = list(_difference(facts, packages, firewall, registry, units, files, unit, timers))
    yield from commands
    if not commands:
        host.noop("the registry already serves as it shall")


def _difference(
    facts: Mapping[str, Any],
    packages: list[str],
    firewall: ManagedFile,
    registry: list[ManagedFile],
    units: list[ManagedFile],
    files: Mapping[str, ManagedFile],
    unit: str,
    timers: list[str],
) -> Iterator[StringCommand]:
    changed = {path for path, file in files.items() if file.differs(facts["files"])}
    for path in files:
        if path in changed:
            yield files[path].write()
    yield from installed(packages, facts["packages"], [])
    if facts["needs_reload"] or changed & {file.path for file in units}:
        yield StringCommand("systemctl daemon-reload")
    idle = [timer for timer in timers if not (timer in facts["enabled"] and timer in facts["running"])]
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
