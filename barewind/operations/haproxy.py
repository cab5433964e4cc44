"""HAProxy."""

from __future__ import annotations

import shlex
from collections.abc import Generator

from pyinfra import host
from pyinfra.api import StringCommand, operation

from barewind.facts.haproxy import HaproxyHost
from barewind.operations import ManagedFile, installed, known


@operation()
def configured(packages: list[str], config: ManagedFile) -> Generator[StringCommand, None, None]:
    """Have HAProxy run a configuration. One that HAProxy itself refuses never replaces the one in use.

    + packages: packages to install
    + config: the configuration file

    **Example:**

    .. code:: python

        configured(name="HAProxy", packages=["haproxy"], config=ManagedFile("/etc/haproxy/haproxy.cfg", "..."))
    """
    facts = known(host.get_fact(HaproxyHost, packages=packages, paths=[config.path]), host.name, "HAProxy")
    yield from installed(packages, facts["packages"])
    if config.differs(facts["files"]):
        candidate = shlex.quote(config.path + ".candidate")
        refused = shlex.quote(
            f"{host.name}: HAProxy refuses the new configuration, see above; the old one stays in use"
        )
        yield config.write(config.path + ".candidate")
        yield StringCommand(
            f"haproxy -c -q -f {candidate} || {{ echo {refused} >&2; exit 1; }}; "
            f"mv -f {candidate} {shlex.quote(config.path)} && systemctl reload-or-restart haproxy.service"
        )
    if not (facts["active"] and facts["enabled"]):
        yield StringCommand("systemctl enable --now haproxy.service")
