"""Programs that watch, and those that tell them figures."""

from __future__ import annotations

import shlex
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pyinfra import host
from pyinfra.api import OperationError, StringCommand, operation

from barewind.hosts.operations import ManagedFile, installed, known
from barewind.monitoring.facts import WatchingHost
from barewind.monitoring.names import drop_in

_LOG_LINES = 10


@dataclass(frozen=True)
class Service:
    """A unit of a package that runs with a drop-in of ours.

    + restart: files after whose change it is restarted, its drop-in among them
    + reload: files that it reads again when it is told to
    + check: shell command that judges its configuration; "" where nothing can be wrong
    """

    unit: str
    restart: tuple[ManagedFile, ...]
    reload: tuple[ManagedFile, ...] = ()
    check: str = ""

    @property
    def files(self) -> tuple[ManagedFile, ...]:
        """All of its files."""
        return (*self.restart, *self.reload)


@operation()
def watching(
    packages: list[str],
    firewall: ManagedFile,
    table: str,
    services: list[Service],
    others: list[ManagedFile],
    timers: list[str],
) -> Generator[StringCommand, None, None]:
    """Have packaged programs run with our configuration behind a firewall table of ours.

    Firewall and drop-ins come before the packages, which would listen everywhere and ask nobody for a password.

    + packages: packages to install
    + firewall: rules for nft
    + table: the table that they make
    + services: the packages' units
    + others: what else is needed: files that are read when they are needed, programs, units of timers
    + timers: timers of ours

    **Example:**

    .. code:: python

        watching(name="Monitor", packages=["prometheus"], services=[Service("prometheus.service", ...)], ...)
    """
    files = {file.path: file for file in (firewall, *others, *(part for one in services for part in one.files))}
    units = [*(service.unit for service in services), *timers]
    facts = known(
        host.get_fact(WatchingHost, names=packages, paths=list(files), units=units, table=table),
        host.name,
        "monitoring",
    )
    _refuse_foreign(services, facts)
    commands = list(_difference(facts, packages, firewall, services, files, timers))
    yield from commands
    if not commands:
        host.noop("what watches here is already as it shall be")


def _refuse_foreign(services: list[Service], facts: Mapping[str, Any]) -> None:
    """A program that runs without our drop-in is somebody's own: its configuration and its port would be taken from it."""
    for service in services:
        if service.unit in facts["running"] and drop_in(service.unit) not in facts["files"]:
            raise OperationError(
                f"{host.name}: {service.unit} already runs here, and Barewind has not set it up; plug into it instead "
                "(docs/monitoring.md), or remove its package and run again"
            )


def _difference(
    facts: Mapping[str, Any],
    packages: list[str],
    firewall: ManagedFile,
    services: list[Service],
    files: Mapping[str, ManagedFile],
    timers: list[str],
) -> Iterator[StringCommand]:
    changed = {path for path, file in files.items() if file.differs(facts["files"])}
    for path in files:
        if path in changed:
            yield files[path].write()
    yield from installed(packages, facts["packages"], [])
    if facts["needs_reload"] or any(path.startswith("/etc/systemd/") for path in changed):
        yield StringCommand("systemctl daemon-reload")
    restarted = False
    for service in services:
        restart = service.unit not in facts["running"] or bool(changed & {file.path for file in service.restart})
        reload = bool(changed & {file.path for file in service.reload})
        restarted = restarted or restart
        if service.unit not in facts["enabled"]:
            yield StringCommand(f"systemctl enable {shlex.quote(service.unit)}")
        if service.check and (restart or reload):
            yield _checked(service)
        if restart or reload:
            yield _told(service.unit, "restart" if restart else "reload")
    if not restarted and (firewall.path in changed or not facts["firewall"]):
        yield StringCommand(f"nft -f {shlex.quote(firewall.path)}")
    idle = [timer for timer in timers if not (timer in facts["enabled"] and timer in facts["running"])]
    if idle:
        yield StringCommand(f"systemctl enable --now {shlex.join(idle)}")


def _checked(service: Service) -> StringCommand:
    """Judge a configuration before it is used. One that is refused is taken away: it must not look as if it were in use."""
    refused = f"{host.name}: {service.unit} would refuse its new configuration, see above; it runs on with the old one"
    files = shlex.join(file.path for file in service.reload)
    return StringCommand(f"{{ {service.check}; }} >&2 || {{ rm -f {files}; echo {shlex.quote(refused)} >&2; exit 1; }}")


def _told(unit: str, verb: str) -> StringCommand:
    """Restart or reload a unit, and see that it runs then: a program that ends at once is started again and again."""
    failed = shlex.quote(f"{host.name}: {unit} does not run; the log above says why")
    name = shlex.quote(unit)
    return StringCommand(
        f"systemctl {verb} {name} && systemctl -q is-active {name} || "
        f"{{ journalctl -u {name} -n {_LOG_LINES} --no-pager -o cat >&2; echo {failed} >&2; exit 1; }}"
    )
