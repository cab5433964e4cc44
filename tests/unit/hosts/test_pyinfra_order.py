"""Operations on the hosts that have them: which they run on, what fails, and that pyinfra's tables and order are the same."""

from __future__ import annotations

import json
import logging
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api import Config, Inventory, State
from pyinfra.api.connect import connect_all
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.operation import add_op
from pyinfra.api.util import get_operation_order_from_stack
from pyinfra.context import ctx_state
from pyinfra.operations import server
from pyinfra_cli import prints

from barewind.hosts import pyinfra_order
from barewind.hosts.pyinfra_order import call_order, hosts_of, run_operation

QUICK = {"fake_delay": 0, "fake_delay_jitter": 0}
BROKEN = {"fake_responses": {"all": {"success": False}}}


@pytest.fixture
def make() -> Callable[..., State]:
    """A state with three hosts, an operation for all of them, one for two, and one for the last."""

    def made(**config: Any) -> State:
        hosts = [("@fake/a", QUICK), ("@fake/b", QUICK | BROKEN), ("@fake/c", QUICK)]
        state = State(Inventory((hosts, {})), Config(PARALLEL=2, **config))
        connect_all(state)
        a, b, c = state.inventory
        for command, own in (("all", [a, b, c]), ("two", [a, c]), ("last", [c])):
            add_op(state, server.shell, name=command, commands=[command], host=own)
        return state

    return made


def operation(state: State, name: str) -> str:
    return next(op for op, meta in state.op_meta.items() if meta.names == {name})


def ran(state: State) -> dict[str, list[str]]:
    connectors: dict[str, Any] = {host.name[-1]: host.connector for host in state.inventory}
    return {name: connector.executed_commands for name, connector in connectors.items()}


def test_the_hosts_of_an_operation(make: Callable[..., State]) -> None:
    state = make()
    assert {name: [host.name for host in hosts_of(state, operation(state, name))] for name in ("all", "two")} == {
        "all": ["@fake/a", "@fake/b", "@fake/c"],
        "two": ["@fake/a", "@fake/c"],
    }


def test_it_runs_where_it_belongs_and_where_nothing_has_failed(
    make: Callable[..., State], caplog: pytest.LogCaptureFixture
) -> None:
    state = make()
    state.is_executing = True
    caplog.set_level(logging.INFO, "pyinfra")
    with ctx_state.use(state):
        for name in ("two", "all"):
            run_operation(state, operation(state, name))
        assert [host.name for host in state.failed_hosts] == ["@fake/b"]
        run_operation(state, operation(state, "last"))
    assert ran(state) == {"a": ["two", "all"], "b": ["all"], "c": ["two", "all", "last"]}
    assert "Skipped" not in caplog.text


def test_too_many_failures_end_the_run_when_every_host_had_its_turn(make: Callable[..., State]) -> None:
    state = make(FAIL_PERCENT=0)
    state.is_executing = True
    with ctx_state.use(state), pytest.raises(PyinfraError, match="Over 0% of hosts failed"):
        run_operation(state, operation(state, "all"))
    assert all(ran(state).values())


@pytest.mark.parametrize("table", ["print_meta", "print_results", "print_run_json"])
def test_tables_are_those_of_pyinfra(
    make: Callable[..., State], table: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    state = make()
    caplog.set_level(logging.INFO, "pyinfra")
    arguments = {"dry": False} if table == "print_run_json" else {}
    own = getattr(prints, table)

    def printed(show: Callable[..., None]) -> list[str]:
        caplog.clear()
        show(state, **arguments)
        return [*(record.getMessage() for record in caplog.records), capsys.readouterr().out]

    with ctx_state.use(state):
        state.is_executing = True
        for name in ("two", "all"):
            run_operation(state, operation(state, name))
        few = printed(pyinfra_order._of_few_hosts(own))
        assert few == printed(own)
    assert any("two" in line for line in few)
    if few[-1]:
        assert json.loads(few[-1])["results"]["totals"]["hosts"] == 6


def test_an_operation_is_called_where_pyinfra_says(
    make: Callable[..., State], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    state = make()

    def calls() -> tuple[list[int], list[int]]:
        return call_order(state), get_operation_order_from_stack(state)

    def in_a_deploy_file(text: str) -> Any:
        Path("deploy.py").write_text(text)
        return runpy.run_path("deploy.py", {"calls": calls})["found"]

    for state.current_deploy_filename in ("deploy.py", "elsewhere.py"):
        ours, theirs = in_a_deploy_file("\n\nfor _ in range(2):\n    found = calls()\n")
        assert ours == theirs
    state.current_deploy_filename = "deploy.py"
    assert in_a_deploy_file("\n\nfound = calls()\n")[0][0] == 3
