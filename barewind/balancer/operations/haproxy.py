"""HAProxy with its configuration."""

from __future__ import annotations

import shlex
from collections.abc import Generator, Iterator
from typing import Any

from pyinfra import host
from pyinfra.api import StringCommand, operation

from barewind.balancer.facts import HaproxyHost
from barewind.hosts.operations import ManagedFile, installed, known
from barewind.hosts.packages import Package

_LOG_LINES = 20


@operation()
def configured(
    packages: list[str],
    config: ManagedFile,
    drop_in: ManagedFile | None = None,
    others: list[ManagedFile] | None = None,
    firewall: ManagedFile | None = None,
    table: str | None = None,
) -> Generator[StringCommand, None, None]:
    """Have HAProxy run a configuration. One that HAProxy refuses, or that cannot be taken over, leaves the old one in place.

    systemd is told to reload only when the drop-in changed; HAProxy only when its configuration did.

    + packages: packages to install
    + config: the configuration file
    + drop_in: the drop-in of HAProxy's unit
    + others: other files that the unit needs
    + firewall: rules for nft, loaded before HAProxy listens where they are needed
    + table: the table that they make

    **Example:**

    .. code:: python

        configured(name="HAProxy", packages=["haproxy"], config=ManagedFile("/etc/haproxy/haproxy.cfg", "..."))
    """
    files = [*([firewall] if firewall else []), *(others or []), *([drop_in] if drop_in else [])]
    names = [Package.parse(package).name for package in packages]
    paths = [file.path for file in (config, *files)]
    facts = known(host.get_fact(HaproxyHost, packages=names, paths=paths, table=table), host.name, "HAProxy")
    commands = list(_difference(facts, packages, config, drop_in, files, firewall))
    yield from commands
    if not commands:
        host.noop("HAProxy is already installed, has this configuration and runs")


def _difference(
    facts: dict[str, Any],
    packages: list[str],
    config: ManagedFile,
    drop_in: ManagedFile | None,
    files: list[ManagedFile],
    firewall: ManagedFile | None,
) -> Iterator[StringCommand]:
    yield from installed(packages, facts["packages"], held=["haproxy"])
    changed = [file for file in files if file.differs(facts["files"])]
    for file in changed:
        yield file.write()
    if firewall is not None and (firewall in changed or not facts["firewall"]):
        yield StringCommand(f"nft -f {shlex.quote(firewall.path)}")
    unknown = drop_in is not None and drop_in.path not in facts["drop_ins"]
    if drop_in in changed or unknown or facts["needs_reload"]:
        yield StringCommand("systemctl daemon-reload")
    if config.differs(facts["files"]):
        yield config.write(config.path + ".candidate")
        yield _taken_over(config.path)
    if not (facts["active"] and facts["enabled"]):
        yield StringCommand("systemctl enable --now haproxy.service")


def _taken_over(path: str) -> StringCommand:
    """Replace the configuration by the candidate beside it. One that HAProxy did not take over is taken away again: it must not
    look as if it were in use."""
    old, new, used = shlex.quote(path + ".before"), shlex.quote(path + ".candidate"), shlex.quote(path)
    refused = shlex.quote(f"{host.name}: HAProxy refuses the new configuration, see above; the old one stays in use")
    failed = shlex.quote(
        f"{host.name}: HAProxy did not take the new configuration over, see above; the old one is back"
    )
    return StringCommand(
        f"haproxy -c -q -f {new} || {{ echo {refused} >&2; exit 1; }}; cp -p {used} {old} 2>/dev/null; "
        f"mv -f {new} {used} && systemctl reload-or-restart haproxy.service || {{ "
        f"journalctl -u haproxy.service -n {_LOG_LINES} --no-pager -o cat >&2; "
        f"mv -f {old} {used} || rm -f {used}; echo {failed} >&2; exit 1; }}; rm -f {old}"
    )
