"""What pyinfra calls during a run, passed on to its account."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from typing import Any

from pyinfra import logger
from pyinfra.api import Host, State
from pyinfra.api.state import BaseStateCallback
from pyinfra.api.util import format_exception

from barewind.output.account import Account, Line


def harmless(call: Callable[..., None]) -> Callable[..., None]:
    """A run is not ended by what is told of it."""

    @functools.wraps(call)
    def guarded(*args: Any, **kwargs: Any) -> None:
        try:
            call(*args, **kwargs)
        except Exception as error:
            logger.warning(
                f"the output of this run is not whole: {format_exception(error)}; with -v it is pyinfra's own"
            )

    return guarded


class Callbacks(BaseStateCallback):
    """Tells the account what pyinfra does."""

    def __init__(self, account: Account, show: Callable[[list[Line]], None], state: State) -> None:
        """The operations of `state` are all known."""
        self._account, self._show = account, show
        self._hosts: dict[str, list[Host]] = {}
        for host in state.inventory:
            for op_hash in state.ops[host]:
                self._hosts.setdefault(op_hash, []).append(host)
        self._running = ""

    @harmless
    def operation_start(self, state: State, op_hash: str) -> None:  # type: ignore[override]
        """An operation begins."""
        self._running = op_hash
        hosts = [host.name for host in self._hosts.get(op_hash, []) if host in state.active_hosts]
        meta = state.get_op_meta(op_hash)
        arguments = f" ({', '.join(str(argument) for argument in meta.args)})" if meta.args else ""
        name = ", ".join(sorted(meta.names)) + arguments
        self._show(self._account.begin(name, hosts, time.monotonic()))

    @harmless
    def operation_host_start(self, state: State, host: Host, op_hash: str) -> None:  # type: ignore[override]
        """A host's turn: the first command that the operation yields says that there is something to do."""
        data = state.ops[host].get(op_hash)
        if data is None:
            return
        generate: Callable[[], Iterator[Any]] = data.command_generator

        acts = harmless(lambda name: self._show(self._account.acts(name)))

        def watched() -> Iterator[Any]:
            for command in generate():
                acts(host.name)
                yield command

        data.command_generator = watched

    @harmless
    def operation_host_success(self, state: State, host: Host, op_hash: str, *_: int) -> None:  # type: ignore[override]  # noqa: ARG002
        """A host has come to the end of the operation."""
        if op_hash == self._running:
            self._account.ends(host.name)

    @harmless
    def operation_host_error(self, state: State, host: Host, op_hash: str, *_: int) -> None:  # type: ignore[override]  # noqa: ARG002
        """A host has failed; why has been logged."""
        if op_hash == self._running:
            self._account.ends(host.name, failed=True)

    @harmless
    def operation_end(self, state: State, op_hash: str) -> None:  # type: ignore[override]  # noqa: ARG002
        """An operation has ended on every host, and none has failed."""
        self._show(self._account.end())
