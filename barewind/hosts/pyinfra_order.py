"""Each operation on the hosts that have it, and on no other.

pyinfra starts every operation on every host of the run, which then says "Skipped", and to print its tables it asks every host
about every operation: with a batch for each host that is the square of their number. The version of pyinfra is pinned; here
are its `_run_single_op` with fewer hosts, and its tables over a state that names fewer. What they do and print about hosts that
have an operation is the same.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import gevent
import pyinfra
import pyinfra.api.operations
import pyinfra_cli.cli
from pyinfra.api import Host, State
from pyinfra.api.operations import run_host_op
from pyinfra.api.util import PYINFRA_INSTALL_DIR, log_operation_start
from pyinfra.context import ctx_host
from pyinfra.progress import progress_spinner

Hosts = dict[str, list[Host]]  # by operation, as pyinfra identifies it

_ATTRIBUTE = "barewind_hosts_of_operations"
_TABLES = ("print_meta", "print_results", "print_run_json")


def install() -> None:
    """Have pyinfra do so; a second call changes nothing."""
    if pyinfra.api.operations._run_single_op is run_operation:
        return
    pyinfra.api.operations._run_single_op = run_operation  # type: ignore[assignment]
    for name in _TABLES:
        setattr(pyinfra_cli.cli, name, _of_few_hosts(getattr(pyinfra_cli.cli, name)))
    # By its name: the attribute `operation` of the package is the function.
    import_module("pyinfra.api.operation").get_operation_order_from_stack = call_order  # type: ignore[attr-defined]


def hosts_of(state: State, operation: str) -> list[Host]:
    """The hosts that an operation is for, in the inventory's order, those included that have failed since.

    For the time in which operations run: all of them are known by then.
    """
    attributes = vars(state)
    if _ATTRIBUTE not in attributes:
        attributes[_ATTRIBUTE] = _hosts(state)
    return list(attributes[_ATTRIBUTE].get(operation, ()))


def run_operation(state: State, operation: str) -> None:
    """Run an operation on the hosts that have it and have not failed, side by side; those on which it fails have failed then.

    Raises:
        PyinfraError: more have failed than may (FAIL_PERCENT).
    """
    state.trigger_callbacks("operation_start", operation)
    meta = state.get_op_meta(operation)
    log_operation_start(meta)
    hosts = [host for host in hosts_of(state, operation) if host in state.active_hosts]
    together = 1 if meta.global_arguments["_serial"] else meta.global_arguments["_parallel"] or len(hosts)
    failed: set[Host] = set()
    for start in range(0, len(hosts), together or 1):
        failed |= _run(state, operation, hosts[start : start + together])
    state.fail_hosts(failed)
    state.trigger_callbacks("operation_end", operation)


def call_order(state: State) -> list[int]:
    """Where an operation is called: the line numbers from the deploy file inwards, without pyinfra's own.

    The same numbers as those of pyinfra, which reads source code and type hints of the whole stack for them.
    """
    calls = []
    frame = sys._getframe(1)
    while frame is not None:
        calls.append((frame.f_code.co_filename, frame.f_lineno))
        frame = frame.f_back  # type: ignore[assignment]
    calls.reverse()
    if state.current_deploy_filename:
        files = [file for file, _ in calls]
        first = files.index(state.current_deploy_filename) if state.current_deploy_filename in files else len(files)
        calls = calls[first:]
    numbers = [state.current_op_file_number] if pyinfra.is_cli else []
    return numbers + [line for file, line in calls if not file.startswith(PYINFRA_INSTALL_DIR)]


def _run(state: State, operation: str, hosts: list[Host]) -> set[Host]:
    """Those of the hosts on which it fails."""
    with progress_spinner(hosts) as progress:
        turns = {state.pool.spawn(_run_on, state, host, operation): host for host in hosts}
        for turn in gevent.iwait(turns):
            progress(turns[turn])
        return {host for turn, host in turns.items() if not turn.get()}


def _run_on(state: State, host: Host, operation: str) -> bool:
    with ctx_host.use(host):
        return run_host_op(state, host, operation)


def _hosts(state: State) -> Hosts:
    hosts: Hosts = {}
    for host in state.inventory:
        for operation in state.ops[host]:
            hosts.setdefault(operation, []).append(host)
    return hosts


class _Tables:
    """A state for pyinfra's tables: of its hosts, those alone that have the operation which the order has come to."""

    def __init__(self, state: State) -> None:
        self.inventory = self
        self._state = state
        self._hosts = _hosts(state)
        self._operation = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._state, name)

    def get_op_order(self) -> Iterator[str]:
        for operation in self._state.get_op_order():
            self._operation = operation
            yield operation

    def iter_activated_hosts(self) -> Iterator[Host]:
        return (host for host in self._hosts.get(self._operation, ()) if host in self._state.activated_hosts)


def _of_few_hosts(table: Any) -> Any:
    @functools.wraps(table)
    def print_table(state: State, *args: Any, **kwargs: Any) -> None:
        table(_Tables(state), *args, **kwargs)

    return print_table
