"""What pyinfra knows of the steps of a run, counted: in time that grows with the operations of all hosts, not with its square."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyinfra.api import Host, State
from pyinfra_cli.prints import pretty_op_name

from barewind.output.steps import Total, totals


def of_plan(state: State) -> dict[str, Total]:
    """What each step would change, as far as is known before the run."""

    def sort(total: Total, host: Host, data: Any) -> None:
        if not data.operation_meta._maybe_is_change:
            total.unchanged += 1
        elif data.global_arguments["_if"]:
            total.perhaps.append(host.name)
        else:
            total.changed.append(host.name)

    return _totals(state, sort)


def of_results(state: State) -> dict[str, Total]:
    """What each step has come to."""

    def sort(total: Total, host: Host, data: Any) -> None:
        meta = data.operation_meta
        if not meta.did_succeed(_raise_if_not_complete=False):
            total.failed.append(host.name)
        elif meta.did_change():
            total.changed.append(host.name)
        else:
            total.unchanged += 1

    return _totals(state, sort)


def _totals(state: State, sort: Callable[[Total, Host, Any], None]) -> dict[str, Total]:
    """Every operation in its order; each host's own are looked at once."""
    found: dict[str, Total] = {op_hash: Total() for op_hash in state.get_op_order()}
    for host in (host for host in state.inventory if host in state.activated_hosts):
        for op_hash, data in state.ops[host].items():
            if op_hash in found:  # not one that an operation has run within
                sort(found[op_hash], host, data)
    return totals((pretty_op_name(state.op_meta[op_hash]), total) for op_hash, total in found.items())
