"""Global arguments of operations: what pyinfra itself makes of a host's data, its groups, the deploy and the call."""

from __future__ import annotations

from typing import Any

import pytest
from pyinfra.api import Config, Inventory, State
from pyinfra.api.arguments import pop_global_arguments
from pyinfra.context import ctx_config

from barewind.hosts.pyinfra_arguments import at_once

CALLS: list[dict[str, Any]] = [
    {},
    {"_sudo": False, "commands": ["true"]},
    {"_env": {"CALL": "1"}, "_timeout": 3, "name": "Step"},
]


@pytest.fixture
def state() -> State:
    groups: dict[str, Any] = {
        "first": (["@fake/a"], {"_sudo": True, "_env": {"GROUP": "1"}, "_retries": 2, "port": 1}),
        "second": (["@fake/a"], {"_retries": 3}),
    }
    inventory = Inventory(
        ([("@fake/a", {"_sudo_user": "root", "port": 2}), "@fake/b"], {"_timeout": 9}),
        override_data={"_su_user": "nobody"},
        **groups,
    )
    return State(inventory, Config(ENV={"SITE": "1"}, RETRY_DELAY=7))


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("deploy", [{}, {"_sudo": False, "_chdir": "/srv", "_env": {"DEPLOY": "1"}}])
@pytest.mark.parametrize("name", ["@fake/a", "@fake/b"])
def test_they_are_those_of_pyinfra(state: State, name: str, deploy: dict[str, Any], call: dict[str, Any]) -> None:
    host = state.inventory.get_host(name)
    with (
        ctx_config.use(state.config),
        host.deploy("Deploy", kwargs=deploy, data={"_doas_user": "default", "_sudo_user": "never"}),
    ):
        theirs, left = dict(call), dict(call)
        wanted = pop_global_arguments(state, host, theirs)
        assert at_once(pop_global_arguments)(state, host, left) == wanted
    assert left == theirs
    assert wanted[0]["_su_user"] == "nobody"
    assert wanted[0]["_sudo_user"] == ("root" if name == "@fake/a" else "never")


def test_data_stay_as_they_are_whatever_becomes_of_the_arguments(state: State) -> None:
    host = state.inventory.get_host("@fake/a")
    with ctx_config.use(state.config):
        arguments, _ = at_once(pop_global_arguments)(state, host, {})
    assert arguments["_env"] == {"SITE": "1", "GROUP": "1"}
    arguments["_env"]["MORE"] = "1"
    assert host.data.get("_env") == {"GROUP": "1"}
