"""One run at a time: the lock of the fleet."""

from __future__ import annotations

import sys

from pyinfra.api.exceptions import PyinfraError
from pyinfra.context import ctx_state

from barewind import fleet_lock, pyinfra_hooks
from barewind.errors import BarewindError
from barewind.operations.fleet_lock import Lease, Watch, asker, keep
from tasks.fleet import fleet
from tasks.once import once

_lease: Lease | None = None  # of this run


def take() -> None:
    """Take it on every balancer and on the engine hosts of this run, until the run ends; the first host here does it for all.

    A run that changes nothing (--dry) takes none.

    Raises:
        PyinfraError: another run has it, or a host does not answer; nothing was changed.
    """
    problem = _take() if pyinfra_hooks.changes_hosts() else ""
    if problem:
        raise PyinfraError(f"nothing was changed\n{problem}")


def check() -> None:
    """Look whether it is still ours; a run that took none has nothing to lose.

    Raises:
        LockLost: it is not, nothing more may be done.
    """
    if _lease is not None:
        _lease.check()


@once
def _take() -> str:
    """Why it cannot be had; empty when it is ours."""
    global _lease
    site, state = fleet().site, ctx_state.get()
    engines = sorted(one.name for one in state.inventory.get_active_hosts() if one.name in site.engines)
    owner = fleet_lock.this_process(sys.argv, site.reason)
    lease = Lease(owner, [*sorted(site.balancers), *engines], asker(state))
    pyinfra_hooks.before_disconnect(lease.give_back)  # Ctrl-C while it is being taken gives it back too
    try:
        lease.take()
    except BarewindError as error:
        return str(error)
    _lease = lease
    state.add_callback_handler(Watch(lease))
    keep(lease)
    return ""
