"""Arguments that every operation, deploy and fact of pyinfra takes (`_sudo`, `_env`, ...), looked up in a host's data at once.

pyinfra looks for each of the thirty in every layer of the data by itself, and puts the layers of the groups together for it
anew: more than half of what a host cost the controller. The version of pyinfra is pinned; what comes out is the same.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from copy import copy
from importlib import import_module
from types import SimpleNamespace
from typing import Any

from pyinfra.api import Host, State, arguments

Pop = Callable[[State, Host, dict[str, Any]], Any]

_USERS = ("arguments", "deploy", "facts", "operation")  # modules of pyinfra.api that know the function by its name


def install() -> None:
    """Have pyinfra do so; a second call changes nothing."""
    if hasattr(arguments.pop_global_arguments, "__wrapped__"):
        return
    arguments.all_global_arguments = functools.cache(arguments.all_global_arguments)
    pop = at_once(arguments.pop_global_arguments)
    for user in _USERS:  # imported: the attribute `operation` of the package is a function
        import_module(f"pyinfra.api.{user}").pop_global_arguments = pop  # type: ignore[attr-defined]


def at_once(pop: Pop) -> Pop:
    """pyinfra's `pop_global_arguments`, which then sees of a host nothing but what it is after."""

    @functools.wraps(pop)
    def pop_at_once(state: State, host: Host, kwargs: dict[str, Any]) -> Any:
        data = host.data.dict()
        known = {key: copy(data[key]) for key, _ in arguments.all_global_arguments() if key in data}
        plain: Any = SimpleNamespace(data=SimpleNamespace(**known), current_deploy_kwargs=host.current_deploy_kwargs)
        return pop(state, plain, kwargs)

    return pop_at_once
