"""One run at a time: the lease of the fleet."""

from __future__ import annotations

import sys

from pyinfra.api.exceptions import PyinfraError
from pyinfra.context import ctx_state

from barewind import pyinfra_hooks
from barewind.errors import BarewindError
from barewind.lease.commands import this_process
from barewind.lease.operations import Lease, Watch, asker, keep
from barewind.tasks.run import Run, fleet, once


def take() -> None:
    """Take the lease on every balancer and on this run's engine hosts, until the run ends; the first host here does it for all.

    A run that changes nothing (--dry) takes none.

    Raises:
        PyinfraError: another run holds it, a host does not answer, or config.py has not loaded Barewind; nothing was changed.
    """
    if not pyinfra_hooks.installed():
        raise PyinfraError(
            "nothing was changed: config.py of this folder does not load Barewind into pyinfra (pyinfra_hooks.install()); move "
            "it away, and write it anew: barewind init ."
        )
    if pyinfra_hooks.changes_hosts():
        _take()


def check() -> None:
    """Make sure that this run still holds the lease; a run that took none has nothing to lose.

    Raises:
        LeaseLost: it does not, and nothing more may be done.
    """
    lease = Run.current().lease
    if lease is not None:
        lease.check()


@once
def _take() -> None:
    site, state = fleet().site, ctx_state.get()
    engines = sorted(host.name for host in state.inventory.get_active_hosts() if host.name in site.engine_hosts)
    lease = Lease(this_process(sys.argv, site.reason), sorted(site.balancers), engines, asker(state))
    pyinfra_hooks.before_disconnect(lease.release)  # Ctrl-C while it is being taken releases it too
    try:
        lease.take()
    except BarewindError as error:
        raise PyinfraError(f"nothing was changed\n{error}") from error
    Run.current().lease = lease
    state.add_callback_handler(Watch(lease))
    keep(lease)
