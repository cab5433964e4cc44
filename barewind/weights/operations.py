"""Weights on a host."""

from __future__ import annotations

from collections.abc import Generator, Mapping

from pyinfra import host, logger, state
from pyinfra.api import FunctionCommand, Host, State, StringCommand, operation
from pyinfra.api.exceptions import FactProcessError

from barewind.hosts.operations import known
from barewind.hosts.poll import Poll
from barewind.hosts.shell import run
from barewind.progress.meter import Meter, duration, size
from barewind.weights import commands
from barewind.weights import read_ahead as ahead
from barewind.weights.facts import WeightDirectories, WeightPages
from barewind.weights.helpers import Helpers
from barewind.weights.plan import UNIT, HostJob, payload
from barewind.weights.read_ahead import Pages

_INTERVAL = 2.0  # seconds between looks
_SILENCE = 300.0  # seconds that a host may be out of reach before it is given up; its transfer goes on


@operation()
def copied(
    jobs: Mapping[str, HostJob], helpers: Helpers, token: str | None = None
) -> Generator[StringCommand | FunctionCommand, None, None]:
    """Have the files of manifests on the host, each checked against its SHA-256.

    A unit of its own copies them: it survives this connection and this run, and the next run finds it at work or goes on
    where it stopped. Only when all files are right does their directory appear, in one step. Hosts that have the files
    already pass them on, also those outside of this run. Files that changed since they were checked are checked again, and
    fetched again if they are wrong.

    + jobs: what each host of the site is to have, by name
    + helpers: the hosts that pass weights on, one object for the whole run
    + token: the hub's token; it travels on standard input into a file in memory that root alone can read

    **Example:**

    .. code:: python

        copied(name="Weights", jobs=host_jobs(plans), helpers=Helpers(), token="hf_...")
    """
    mine = jobs[host.name]
    facts = known(host.get_fact(WeightDirectories, directories=list(mine.directories)), host.name, "weights")
    if not commands.missing(mine, facts):
        host.noop("the weights are there already, as they were when they were checked")
        return
    helping: list[str] = []
    if mine.peers:
        arguments = {"helpers": helpers, "jobs": jobs, "mine": mine, "helping": helping}
        yield FunctionCommand(_find_help, (), arguments)
    active = {other.name for other in state.inventory.get_active_hosts()} if state.inventory else set()
    expected = sorted({mine.host, *helping, *(name for name in mine.peers if name in active)})
    yield StringCommand(commands.start(mine), _stdin=payload(mine, token=token, expected=expected))
    yield FunctionCommand(_follow, (), {"job": mine})


@operation()
def read_ahead(directories: list[str]) -> Generator[FunctionCommand, None, None]:
    """Have weights in the host's page cache, as far as memory that nobody needs allows, before an engine is to load them.

    Nothing is done where it would bring nothing, and that is said. Nothing fails because weights were not read ahead.

    + directories: where they are

    **Example:**

    .. code:: python

        read_ahead(name="Read ahead", directories=["/var/lib/barewind/weights/org--model/<revision>-mistral"])
    """
    pages = host.get_fact(WeightPages, directories=directories)
    needless = "the page cache cannot be looked at" if pages is None else pages.needless
    if needless:
        if state.is_executing:
            host.log(needless)
        host.noop(needless)
        return
    yield FunctionCommand(_read_ahead, (), {"directories": directories, "pages": pages})


def _read_ahead(state: State, host: Host, directories: list[str], pages: Pages) -> bool:
    poll = Poll(_INTERVAL)
    answer = run(state, host, ahead.command(directories, pages.room), timeout=ahead.LIMIT + 60)
    after = run(state, host, WeightPages().command(directories))
    problem, told = answer.problem or after.problem, f"after {duration(poll.waited)}"
    if not problem:
        try:
            resident = WeightPages().process(after.output.splitlines()).resident
            there = f"{size(resident)} of {size(pages.files)}" if resident is not None else size(pages.files)
            told = f"{there} of weights are in the page cache {told}"
        except FactProcessError as error:
            problem = str(error)
    host.log(f"weights could not be read ahead: {problem}" if problem else told)
    return True


def _find_help(
    state: State, host: Host, helpers: Helpers, jobs: Mapping[str, HostJob], mine: HostJob, helping: list[str]
) -> bool:
    """Have hosts that hold some of the files pass them on, and name them in `helping`."""
    helping += helpers.of(state, jobs, mine)
    if helping:
        host.log(f"{', '.join(helping)} pass{'es' if len(helping) == 1 else ''} on what is there")
    return True


def _follow(state: State, host: Host, job: HostJob) -> bool:
    """Log how far the unit is until the files are there; False, with an error logged, when they will not be."""
    poll = Poll(_INTERVAL, log=host.log, log_at_once=True)
    heard_at = 0.0
    meter: Meter | None = None
    phase = ""
    while True:
        answer = run(state, host, commands.print_status(job))
        now = poll.waited
        if answer.problem and now - heard_at > _SILENCE:
            return _failed(
                host, f"is out of reach ({answer.problem}). {UNIT} goes on there: deploy again to see how far it is"
            )
        if not answer.problem:
            heard_at = now
            status = commands.read_status(answer.output, job)
            if status.done:
                host.log(status.summary(now))
                return True
            if status.failed:
                return _failed(host, status.error)
            if status.died:
                log = run(state, host, commands.print_log()).output
                return _failed(host, f"{UNIT} ended before the weights were there; its log ends:\n{log}")
            if status.phase:
                if meter is None or phase != status.phase:
                    phase, meter = status.phase, Meter(status.total, now, done=status.done_bytes)
                meter.advance(status.done_bytes - meter.done, now)
                poll.log(status.describe(meter))
        poll.pause()


def _failed(host: Host, message: str) -> bool:
    logger.error(f"{host.print_prefix}{host.name}: {message}")
    return False
