"""The limit of open files of this process: each host costs a connection for as long as a command lasts."""

from __future__ import annotations

import resource

from barewind.errors import BarewindError

PER_HOST = 2  # the connection, and a wake-up pipe or an address look-up beside it
BASE = 100  # Python's own, logs, key files, the terminal, an event loop


def raise_limit(hosts: int) -> None:
    """Let this process open as many files as commands on `hosts` hosts need, as far as the hard limit allows.

    The soft limit is only ever raised. 256 and 1024 are usual for it, while the hard limit is mostly a million.

    Raises:
        BarewindError: the hard limit is too low; the message names what is there, what is needed and the remedy.
    """
    need = needed(hosts)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if _allows(soft, need):
        return
    if not _allows(hard, need):
        raise BarewindError(
            f"{hosts} hosts need {need} open files, and this process may open {hard} at most (its hard limit): raise it "
            f"(as root: ulimit -Hn {need}; for good: `* hard nofile {need}` in /etc/security/limits.conf and a new login), "
            f"or name fewer hosts with --limit (at most {max(0, (hard - BASE) // PER_HOST)} fit)"
        )
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (need, hard))
    except (OSError, ValueError) as error:  # a system's own limit below the one it names, as macOS has
        raise BarewindError(
            f"{hosts} hosts need {need} open files, this process may open {soft}, and the limit cannot be raised ({error}); "
            f"raise it in the shell: ulimit -n {need}"
        ) from None


def needed(hosts: int) -> int:
    """Open files that a command on so many hosts needs."""
    return BASE + PER_HOST * hosts


def _allows(limit: int, need: int) -> bool:
    return limit == resource.RLIM_INFINITY or limit >= need
