"""Commands on the hosts of an inventory outside of a deploy, over the same connections and with the same privileges."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from barewind.errors import BarewindError

if TYPE_CHECKING:
    from pyinfra.api import Host, State

Read = TypeVar("Read")


class Hosts:
    """The hosts of an inventory file; each is connected to when it is first asked."""

    def __init__(self, inventory_file: str, data: Iterable[str] = ()) -> None:
        """`data` are overrides of keys as on the command line, KEY=VALUE."""
        # Imported here: it makes the process cooperative (gevent), which only callers should pay for.
        from pyinfra.api import Config, State
        from pyinfra.context import ctx_config, ctx_state
        from pyinfra_cli.inventory import make_inventory
        from pyinfra_cli.util import parse_cli_arg

        from barewind.hosts.connection import tune_connections

        tune_connections()
        logging.getLogger("pyinfra").addHandler(
            logging.NullHandler()
        )  # what it warns of is in the answers too, once a host
        self._state = State()
        self._state.cwd = str(Path.cwd())
        config = Config()
        with ctx_state.use(self._state), ctx_config.use(config):
            overrides = {key: parse_cli_arg(value) for key, _, value in (override.partition("=") for override in data)}
            inventory = make_inventory(inventory_file, cwd=self._state.cwd, override_data=overrides)
            self._state.init(inventory, config)

    @property
    def state(self) -> State:
        """pyinfra's, for what asks hosts in its own way."""
        return self._state

    def ask(self, commands: Mapping[str, str], *, timeout: int, stdin: str | None = None) -> dict[str, tuple[str, str]]:
        """Output and problem of a command on each host, all run at the same time; `timeout` in seconds.

        + stdin: the input of each of them

        Raises:
            BarewindError: a host is not in the inventory, or this process may not open enough files for so many.
        """
        return self.ask_and_read(commands, lambda output, problem: (output, problem), timeout=timeout, stdin=stdin)

    def ask_and_read(
        self,
        commands: Mapping[str, str],
        read: Callable[[str, str], Read],
        *,
        timeout: int,
        stdin: str | None = None,
    ) -> dict[str, Read]:
        """What `read` makes of output and problem of a command on each host, as soon as that host has answered.

        Raises:
            BarewindError: as for `ask`.
        """
        from pyinfra.context import ctx_state

        from barewind.hosts.ask import ask
        from barewind.hosts.files_limit import raise_limit
        from barewind.hosts.shell import run

        def question(name: str) -> Read:
            answer = run(self._state, self._host(name), commands[name], timeout=timeout, stdin=stdin)
            return read(answer.output, answer.problem)

        raise_limit(len(commands))
        with ctx_state.use(self._state):
            return ask(commands, question).all()

    def dialer(self, name: str, address: tuple[str, int]) -> Callable[[], socket.socket]:
        """A function that opens a connection to what a host that was asked before reaches at `address`.

        Raises:
            BarewindError: the host is not in the inventory, or is reached by other means than SSH.
        """
        from barewind.hosts.tunnel import dialer

        return dialer(self._host(name), address)

    def _host(self, name: str) -> Host:
        host = self._state.inventory.get_host(name)
        if host is None:
            raise BarewindError(f"{name}: not in the inventory; name one of its hosts.")
        return host
