"""An operation of ours on a host of which only one fact is known, and files as facts tell of them."""

from __future__ import annotations

import hashlib
from typing import Any

from pyinfra.context import ctx_host, ctx_state
from pyinfra_testing.operations import parse_commands
from pyinfra_testing.util import FakeState, create_host

from barewind.hosts.operations import ManagedFile
from tests.support.any_arguments import AnyArguments


def on_host(*files: ManagedFile) -> dict[str, dict[str, str]]:
    return {
        file.path: {
            "mode": file.mode,
            "owner": "root",
            "group": "root",
            "sha256": hashlib.sha256(file.content.encode()).hexdigest(),
        }
        for file in files
    }


def run(operation: Any, arguments: dict[str, Any], fact: str, value: Any, *, says_why: bool = False) -> list[Any]:
    """The commands of an operation on a host called gpu-h1; with `says_why`, one without commands must give a reason."""
    state = FakeState()
    host = create_host(state, facts={fact: {}} if fact else {})
    host.name = "gpu-h1"
    if fact:
        host.fact.facts[fact].data = AnyArguments(value)
    with ctx_state.use(state), ctx_host.use(host):
        commands = parse_commands(list(operation._inner(**arguments)))
    if says_why:
        assert bool(commands) != bool(host.noop_description)
    return commands
