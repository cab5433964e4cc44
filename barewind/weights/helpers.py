"""Hosts that have weights already pass them on to those that need them, also hosts outside of the run."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from gevent.lock import RLock
from pyinfra import logger
from pyinfra.api import Host, State

from barewind.hosts.ask import ask
from barewind.hosts.shell import run
from barewind.weights import commands
from barewind.weights.facts import WeightDirectories
from barewind.weights.plan import UNIT, HostJob, payload

_START = 120  # seconds


class Helpers:
    """The helpers of one run: each host is asked once, whoever needs it."""

    def __init__(self) -> None:
        self._helping: dict[tuple[str, str], bool] = {}  # host and id of its job -> whether it helps
        self._lock = RLock()

    def of(self, state: State, jobs: Mapping[str, HostJob], mine: HostJob) -> list[str]:
        """Names of the hosts that pass on what `mine` needs. That no host can is no failure."""
        keys = {name: (name, jobs[name].id) for name in mine.peers if name in jobs}
        with self._lock:  # the first to come asks, the others wait for what it has found out
            new = [name for name, key in keys.items() if key not in self._helping]
            helping = ask(new, lambda name: self._helps(state, jobs[name], mine.host)).all() if new else {}
            self._helping |= {keys[name]: helps for name, helps in helping.items()}
        return [name for name, key in keys.items() if self._helping[key]]

    @staticmethod
    def _helps(state: State, job: HostJob, asking: str) -> bool:
        other = state.inventory.get_host(job.host)
        return other is not None and pass_on(state, other, job, asking)


def pass_on(state: State, host: Host, job: HostJob, asking: str) -> bool:
    """Have one host pass on what it has of its job to the host that asks, and to others after it; whether it does."""
    directories = WeightDirectories()
    answer = run(state, host, directories.command(directories=list(job.directories)))
    if answer.problem:
        logger.warning(f"{host.print_prefix}is left aside for weights: {answer.problem}")
        return False
    missing = commands.missing(job, directories.process(answer.output.splitlines()))
    present = [directory for directory in job.directories if directory not in missing]
    if not present or (missing and host in state.inventory.get_active_hosts()):
        return False  # it has nothing to give, or copies the rest itself in this run and gives what it has on the way
    if run(state, host, f"docker image inspect {shlex.quote(job.image)} >/dev/null").problem:
        logger.info(f"{host.print_prefix}has the files, but not the image that passes them on")
        return False
    serving = job.only(present)
    busy = f"if systemctl is-active --quiet {UNIT}; then cat > /dev/null; exit 0; fi"
    archive = payload(serving, token=None, expected=[asking])
    answer = run(state, host, f"{busy}; {commands.start(serving)}", timeout=_START, stdin=archive)
    if answer.problem:
        logger.warning(f"{host.print_prefix}cannot pass weights on: {answer.problem}")
    return not answer.problem
