"""Weights on a host."""

from __future__ import annotations

import shlex
from collections.abc import Generator, Mapping
from time import monotonic
from weakref import WeakKeyDictionary

import gevent
from gevent.lock import RLock
from gevent.pool import Pool
from pyinfra import host, logger, state
from pyinfra.api import FunctionCommand, Host, State, StringCommand, operation

from barewind import copying, swarm
from barewind.facts.weights import WeightDirectories
from barewind.meter import Meter
from barewind.operations import known
from barewind.operations.shell import run
from barewind.swarm import HostJob

_INTERVAL = 2.0  # seconds between looks
_SAY = 15.0  # seconds between two lines about a host
_SILENT = 300.0  # seconds that a host may be out of reach before it is given up; its transfer goes on
_START = 120  # seconds

_helped: WeakKeyDictionary[Host, dict[str, bool]] = WeakKeyDictionary()
_helping: WeakKeyDictionary[Host, RLock] = WeakKeyDictionary()


@operation()
def present(
    jobs: Mapping[str, HostJob], token: str | None = None
) -> Generator[StringCommand | FunctionCommand, None, None]:
    """Have the files of manifests on the host, each checked against its SHA-256.

    A unit of its own copies them: it survives this connection and this run, and the next run finds it at work or goes on
    where it stopped. Only when all files are right does their directory appear, in one step. Hosts that have the files
    already pass them on, also those outside of this run. Files that changed since they were checked are checked again, and
    fetched again if they are wrong.

    + jobs: what each host of the site is to have, by name
    + token: the hub's token; it travels on standard input into a file in memory that root alone can read

    **Example:**

    .. code:: python

        present(name="Weights", jobs=swarm.jobs(plans), token="hf_...")
    """
    mine = jobs[host.name]
    facts = known(host.get_fact(WeightDirectories, directories=list(mine.directories)), host.name, "weights")
    if not copying.missing(mine, facts):
        return
    active = {one.name for one in state.inventory.get_active_hosts()} if state.inventory else set()
    helpers: list[str] = []
    if mine.peers:
        yield FunctionCommand(_find_help, (), {"jobs": jobs, "mine": mine, "found": helpers})
    expected = sorted({mine.host, *helpers, *(name for name in mine.peers if name in active)})
    yield StringCommand(copying.start(mine), _stdin=swarm.payload(mine, token=token, expected=expected))
    yield FunctionCommand(_follow, (), {"job": mine})


def _find_help(state: State, host: Host, jobs: Mapping[str, HostJob], mine: HostJob, found: list[str]) -> bool:
    """Have hosts that hold some of the files pass them on. That none can is no failure."""
    names = [name for name in mine.peers if name in jobs]
    helped = Pool(len(names) or 1).map(lambda name: _help(state, jobs[name], mine.host), names)
    found += [name for name, does in zip(names, helped, strict=True) if does]
    if found:
        host.log(f"{', '.join(found)} pass{'es' if len(found) == 1 else ''} on what is there")
    return True


def _help(state: State, job: HostJob, asker: str) -> bool:
    """Have one host pass on what it has; each host is asked once per run, whoever needs it."""
    other = state.inventory.get_host(job.host)
    if other is None:
        return False
    with _helping.setdefault(other, RLock()):
        known_ = _helped.setdefault(other, {})
        if job.id not in known_:
            known_[job.id] = _serve(state, other, job, asker)
        return known_[job.id]


def _serve(state: State, other: Host, job: HostJob, asker: str) -> bool:
    looked = WeightDirectories()
    answer = run(state, other, looked.command(directories=list(job.directories)))
    if answer.problem:
        logger.warning(f"{other.print_prefix}is left aside for weights: {answer.problem}")
        return False
    lacking = copying.missing(job, looked.process(answer.output.splitlines()))
    there = [directory for directory in job.directories if directory not in lacking]
    if not there or (lacking and other in state.inventory.get_active_hosts()):
        return False  # it has nothing to give, or copies the rest itself in this run and gives what it has on the way
    serving = job.only(there)
    if run(state, other, f"docker image inspect {shlex.quote(job.image)} >/dev/null").problem:
        logger.info(f"{other.print_prefix}has the files, but not the image that passes them on")
        return False
    archive = shlex.quote(swarm.payload(serving, token=None, expected=[asker]))
    busy = f"systemctl is-active --quiet {swarm.UNIT} && exit 0; "
    answer = run(state, other, f"{busy}printf %s {archive} | {{ {copying.start(serving)}; }}", timeout=_START)
    if answer.problem:
        logger.warning(f"{other.print_prefix}cannot pass weights on: {answer.problem}")
    return not answer.problem


def _follow(state: State, host: Host, job: HostJob) -> bool:
    """Say how far the unit is until the files are there."""
    begun = heard = monotonic()
    said = 0.0
    meter: Meter | None = None
    phase = ""
    while True:
        answer = run(state, host, copying.look(job))
        now = monotonic()
        if answer.problem and now - heard > _SILENT:
            return _failed(
                host,
                f"is out of reach ({answer.problem}). {swarm.UNIT} goes on there: deploy again to see how far it is",
            )
        if not answer.problem:
            heard = now
            found = copying.read(answer.output, job)
            if found.complete and (found.phase in ("serving", "done") or found.unit == "inactive"):
                host.log(found.summary(now - begun))
                return True
            if found.phase == "failed" and found.unit != "active":
                return _failed(host, found.error)
            if found.unit in ("inactive", "failed"):
                return _failed(
                    host,
                    f"{swarm.UNIT} ended before the weights were there; its log ends:\n{run(state, host, copying.log()).output}",
                )
            if found.phase:
                if meter is None or phase != found.phase:
                    phase, meter = found.phase, Meter(found.total, now, done=found.done)
                meter.advance(found.done - meter.done, now)
                if now - said > _SAY:
                    host.log(found.describe(meter))
                    said = now
        gevent.sleep(_INTERVAL)


def _failed(host: Host, what: str) -> bool:
    logger.error(f"{host.print_prefix}{host.name}: {what}")
    return False
