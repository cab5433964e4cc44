"""The engine's compile cache on a host."""

from __future__ import annotations

import shlex
from collections.abc import Generator
from time import monotonic
from weakref import WeakKeyDictionary

import gevent
from gevent.lock import RLock
from pyinfra import host
from pyinfra.api import FunctionCommand, Host, State, operation

from barewind import compile_cache, copying, swarm
from barewind.compile_cache import Cache, Packed
from barewind.facts.compile_cache import CompileCache
from barewind.operations import known
from barewind.operations.shell import run
from barewind.swarm import HostJob

_INTERVAL = 1.0  # seconds between looks
_LIMIT = 900  # seconds; a cache is a few hundred MB
_PACK = 600  # seconds

_packing: WeakKeyDictionary[Host, RLock] = WeakKeyDictionary()
_packed: WeakKeyDictionary[Host, dict[str, Packed]] = WeakKeyDictionary()


@operation()
def seeded(mine: Cache, takers: list[Cache], givers: list[Cache]) -> Generator[FunctionCommand, None, None]:
    """Have what another host has compiled for the same release, accelerator and arguments, before the engine starts.

    Nothing to have, or a way that fails, is no failure: the engine then compiles for itself.

    + mine: the host's own cache
    + takers: those of the hosts that get theirs at the same time, this one included
    + givers: those of hosts that may have one

    **Example:**

    .. code:: python

        seeded(name="Compile cache", mine=cache, takers=[cache], givers=[of_another_host])
    """
    if known(host.get_fact(CompileCache, directory=mine.directory), host.name, "the compile cache"):
        return
    yield FunctionCommand(_seed, (), {"mine": mine, "takers": takers, "givers": givers})


def _seed(state: State, host: Host, mine: Cache, takers: list[Cache], givers: list[Cache]) -> bool:
    for giver in givers:
        other = state.inventory.get_host(giver.spec.host)
        file = other and _pack(state, other, giver)
        if not other or not file:
            continue
        jobs = compile_cache.jobs(giver, takers, file)
        problem = (
            _start(state, other, jobs[giver.spec.host], expected=mine.spec.host)
            or _start(state, host, jobs[mine.spec.host], expected=giver.spec.host)
            or _wait(state, host, jobs[mine.spec.host])
            or run(state, host, compile_cache.unpack(mine), timeout=_PACK).problem
        )
        run(state, other, compile_cache.forget(giver))
        host.log(f"compile cache of {giver.spec.host}: {problem or 'taken over'}")
        if not problem:
            return True
    return True


def _pack(state: State, other: Host, giver: Cache) -> Packed | None:
    """Packed once per run, however many hosts want it."""
    with _packing.setdefault(other, RLock()):
        known_ = _packed.setdefault(other, {})
        if giver.key not in known_:
            file = compile_cache.packed(run(state, other, compile_cache.pack(giver), timeout=_PACK).output)
            if file is None:
                return None
            known_[giver.key] = file
        return known_[giver.key]


def _start(state: State, host: Host, job: HostJob, *, expected: str) -> str:
    archive = shlex.quote(swarm.payload(job, token=None, expected=[expected]))
    return run(state, host, f"printf %s {archive} | {{ {copying.start(job)}; }}").problem


def _wait(state: State, host: Host, job: HostJob) -> str:
    """Why the file did not come; empty when it did."""
    begun = monotonic()
    while monotonic() - begun < _LIMIT:
        answer = run(state, host, copying.look(job))
        found = copying.read(answer.output, job)
        if found.complete:
            return ""
        if not answer.problem and found.unit in ("inactive", "failed"):
            return found.error or f"{swarm.UNIT} ended early"
        gevent.sleep(_INTERVAL)
    return f"not there after {_LIMIT} s"
