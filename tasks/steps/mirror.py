"""The fleet's registry on the hosts of the group `mirrors`. Alone: pyinfra INVENTORY barewind.tasks.steps.mirror.serve"""

from __future__ import annotations

from pyinfra import host
from pyinfra.api import deploy
from pyinfra.api.exceptions import PyinfraError

from barewind.errors import BarewindError
from barewind.hosts.operations import ManagedFile
from barewind.mirror.operations import serving
from barewind.mirror.plan import PACKAGES, TIMERS, UNIT, clients, plan
from barewind.tasks.run import fleet

_INSTALL = 900  # seconds


@deploy("Mirror")
def serve() -> None:
    """Have the registry run where it belongs; `barewind mirror INVENTORY` fills it."""
    site = fleet().site
    spec = site.mirrors.get(host.name)
    if spec is None:
        return
    try:
        wanted = plan(spec, clients(site))
    except BarewindError as error:
        raise PyinfraError(str(error)) from error
    managed = {file.path: ManagedFile(file.path, file.content, file.mode) for file in wanted.files}
    serving(
        name="Registry",
        packages=list(PACKAGES),
        firewall=managed[wanted.firewall.path],
        registry=[managed[file.path] for file in wanted.registry],
        units=[managed[file.path] for file in wanted.units],
        others=[managed[file.path] for file in wanted.others],
        unit=UNIT,
        timers=list(TIMERS),
        _timeout=_INSTALL,
    )
