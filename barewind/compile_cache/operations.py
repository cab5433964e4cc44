"""The engine's compile cache on a host."""

from __future__ import annotations

from collections.abc import Callable, Container, Generator, Iterable, Sequence

from gevent.lock import RLock
from pyinfra import host
from pyinfra.api import FunctionCommand, Host, State, operation
from pyinfra.api.exceptions import FactProcessError

from barewind.compile_cache import commands
from barewind.compile_cache.facts import CompileCache
from barewind.compile_cache.plan import Cache, Packed, detail, exposed, seed_job
from barewind.hosts.ask import ask
from barewind.hosts.operations import known
from barewind.hosts.poll import Poll
from barewind.hosts.shell import run
from barewind.release import history
from barewind.release.facts import ReleaseHistory
from barewind.weights.commands import print_status, read_status
from barewind.weights.commands import start as start_job
from barewind.weights.plan import UNIT, HostJob, payload

_INTERVAL = 1.0  # seconds between looks
_LIMIT = 900  # seconds; a cache is a few hundred MB
_PACK = 600  # seconds


class PackedCaches:
    """Files of caches in one run, by key and host. A host is asked once: what it packs later it says by itself."""

    def __init__(self) -> None:
        """Nobody is asked yet."""
        self._files: dict[str, dict[str, Packed]] = {}
        self._asked: set[tuple[str, str]] = set()
        self._lock = RLock()

    def add(self, host: str, key: str, file: Packed) -> None:
        """A host has packed its cache."""
        self._files.setdefault(key, {})[host] = file

    def of(self, key: str, hosts: Iterable[str], question: Callable[[str], Packed | None]) -> dict[str, Packed]:
        """Those of some hosts that have one. Hosts that nobody has asked yet are asked side by side; whoever comes then waits."""
        with self._lock:
            names = list(hosts)
            new = [name for name in names if (name, key) not in self._asked]
            self._asked |= {(name, key) for name in new}
            known = self._files.setdefault(key, {})
            for name, file in ask(new, question).answers.items() if new else ():
                if file is not None:
                    known.setdefault(name, file)
            return {name: known[name] for name in names if name in known}


@operation()
def packed(
    cache: Cache, release: str, unit: str, container: str, files: PackedCaches
) -> Generator[FunctionCommand, None, None]:
    """Pack what an engine has compiled, for other hosts, once it has passed its gate and before it gets requests.

    What an engine that served could write to is not packed: it may be anybody's. Nothing to pack, or nothing that other hosts may
    have, is no failure: they compile for themselves.

    + cache: the host's own cache
    + release: the release that has passed its gate
    + unit: name of the engine's unit
    + container: name of its container
    + files: files of caches, one object for the whole run

    **Example:**

    .. code:: python

        packed(name="Compile cache", cache=cache, release="0123456789ab", unit="barewind-engine.service",
               container="barewind-engine", files=PackedCaches())
    """
    if known(host.get_fact(CompileCache, directory=cache.packed_directory), host.name, "the packed compile cache"):
        host.noop("the compile cache is packed already")
        return
    facts = known(host.get_fact(ReleaseHistory, unit=unit, container=container), host.name, "its history")
    if exposed(facts["records"], facts["events"], cache.key):
        host.noop("the compile cache is not packed: its engine has served with it")
        return
    yield FunctionCommand(_pack, (), {"cache": cache, "release": release, "files": files})


@operation()
def seeded(
    mine: Cache, alike: Sequence[Cache], takers: Container[str], files: PackedCaches
) -> Generator[FunctionCommand, None, None]:
    """Have what another host has compiled for the same release, accelerator and arguments, before the engine starts.

    Only a file that was packed before its host got requests is taken, by the SHA-256 that was noted then. Nothing to have, or a
    way that fails, is no failure: the engine then compiles for itself.

    + mine: the host's own cache
    + alike: those of every host that may share it
    + takers: names of the hosts that get theirs at the same time, this one included; the others may have one to give
    + files: files of caches, one object for the whole run: each host is asked once, however many take its file

    **Example:**

    .. code:: python

        seeded(name="Compile cache", mine=cache, alike=[cache, of_another_host], takers=["gpu1"], files=PackedCaches())
    """
    if known(host.get_fact(CompileCache, directory=mine.directory), host.name, "the compile cache"):
        host.noop("the compile cache is there already")
        return
    yield FunctionCommand(_seed, (), {"mine": mine, "alike": alike, "takers": takers, "files": files})


def _pack(state: State, host: Host, cache: Cache, release: str, files: PackedCaches) -> bool:
    answer = run(state, host, commands.pack(cache), timeout=_PACK)
    file = commands.read_packed(answer.output)
    if file is None:
        host.log(f"compile cache: not packed: {answer.problem or 'the host does not say why'}")
        return True
    problem = run(state, host, history.packed(release, detail(cache, file))).problem
    if problem:
        host.log(f"compile cache: not handed on, since its history cannot be written: {problem}")
    else:
        files.add(host.name, cache.key, file)
    return True


def _seed(
    state: State, host: Host, mine: Cache, alike: Sequence[Cache], takers: Container[str], files: PackedCaches
) -> bool:
    givers = {cache.spec.host: cache for cache in alike if cache.spec.host not in takers}
    found = files.of(mine.key, givers, lambda name: _noted(state, state.inventory.get_host(name), givers[name]))
    for name, file in found.items():
        together = [cache for cache in alike if cache.spec.host in takers]
        problem = _take_from(state, host, mine, together, giver := givers[name], file)
        host.log(f"compile cache of {giver.spec.host}: {problem or 'taken over'}")
        if not problem:
            return True
    return True


def _take_from(state: State, host: Host, mine: Cache, takers: list[Cache], giver: Cache, file: Packed) -> str:
    """Why a giver's cache did not come; empty when it did."""
    giving_host = state.inventory.get_host(giver.spec.host)
    giving, taking = (seed_job(cache, giver, takers, file) for cache in (giver, mine))
    problem = (
        _start(state, giving_host, giving, expected=mine.spec.host)
        or _start(state, host, taking, expected=giver.spec.host)
        or _wait(state, host, taking)
        or run(state, host, commands.unpack(mine), timeout=_PACK).problem
    )
    run(state, giving_host, commands.remove_traces(giver))
    return problem


def _noted(state: State, host: Host | None, cache: Cache) -> Packed | None:
    if host is None:
        return None
    answer = run(state, host, commands.show_packed(cache))
    try:
        return None if answer.problem else commands.read_noted(answer.output, cache)
    except FactProcessError:
        return None


def _start(state: State, host: Host, job: HostJob, *, expected: str) -> str:
    archive = payload(job, token=None, expected=[expected])
    return run(state, host, start_job(job), stdin=archive).problem


def _wait(state: State, host: Host, job: HostJob) -> str:
    """Why the file did not come; empty when it did."""
    poll = Poll(_INTERVAL, _LIMIT)
    while True:
        answer = run(state, host, print_status(job))
        status = read_status(answer.output, job)
        if status.complete:
            return ""
        if not answer.problem and status.died:
            return status.error or f"{UNIT} ended early"
        if not poll.pause():
            return f"not there after {_LIMIT} s"
