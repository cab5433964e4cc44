"""A host's restart, which the kernel's boot id proves."""

from __future__ import annotations

from pyinfra import logger
from pyinfra.api import Host, State

from barewind.hosts.poll import Poll
from barewind.hosts.shell import run

_BOOT_ID = "cat /proc/sys/kernel/random/boot_id"
_RESTART = "systemd-run --quiet --on-active=1 --timer-property=AccuracySec=100ms systemctl reboot"  # after we hung up
_INTERVAL = 2.0  # seconds between attempts to connect


def restart(state: State, host: Host, timeout: int, reasons: list[str]) -> bool:
    """Restart a host and wait until its units have started; False, after an error in the log, when it does not come back.

    The boot id tells the last moments of the old kernel from the first of the new. `timeout` in seconds.
    """
    host.log(f"restarts: {'; '.join(reasons)}")
    before, poll = run(state, host, _BOOT_ID), Poll(_INTERVAL, timeout)
    asked = run(state, host, _RESTART)
    if before.problem or asked.problem:
        return _gave_up(host, f"cannot be restarted ({before.problem or asked.problem})")
    host.disconnect()
    while poll.pause():
        now = run(state, host, _BOOT_ID)
        if now.problem or now.output == before.output:
            host.disconnect()  # on its way down, or not up yet
            continue
        left = max(1, int(poll.left))
        # `degraded` (some unit failed) is an answer too: what matters is checked next.
        run(state, host, f"timeout {left} systemctl is-system-running --wait", timeout=left)
        return True
    return _gave_up(
        host,
        f"did not come back within {timeout} s after its restart ({'; '.join(reasons)}); look at its console "
        "(if its firmware is that slow, raise 'reboot_timeout')",
    )


def _gave_up(host: Host, problem: str) -> bool:
    logger.error(
        f"{host.print_prefix}{host.name}: {problem}. It is out of service and stays so; mend it and deploy again"
    )
    return False
