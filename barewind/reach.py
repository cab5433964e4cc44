"""Commands on the hosts of an inventory, outside of a deploy: over the same connections, with the same privileges."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from barewind.errors import BarewindError


class Hosts:
    """The hosts of an inventory file; connects when asked."""

    def __init__(self, inventory_file: str, data: Iterable[str] = ()) -> None:
        """`data` are overrides as on the command line, KEY=VALUE."""
        # Imported here: it makes the process cooperative (gevent), which only callers should pay for.
        from pyinfra.api import Config, State
        from pyinfra.context import ctx_config, ctx_state
        from pyinfra_cli.inventory import make_inventory
        from pyinfra_cli.util import parse_cli_arg

        from barewind.pyinfra_hooks import tune_connections

        tune_connections()
        self._state = State()
        self._state.cwd = str(Path.cwd())
        config = Config()
        with ctx_state.use(self._state), ctx_config.use(config):
            overrides = {key: parse_cli_arg(value) for key, _, value in (one.partition("=") for one in data)}
            inventory = make_inventory(inventory_file, cwd=self._state.cwd, override_data=overrides)
            self._state.init(inventory, config)

    def ask(self, commands: Mapping[str, str], *, timeout: int) -> dict[str, tuple[str, str]]:
        """Run a command on each host, all at the same time: host -> (output, problem); `timeout` in seconds.

        Raises:
            BarewindError: a host is not in the inventory.
        """
        from gevent.pool import Pool
        from pyinfra.context import ctx_state

        from barewind.operations.shell import run

        def one(name: str) -> tuple[str, str]:
            host = self._state.inventory.get_host(name)
            if host is None:
                raise BarewindError(f"{name}: not in the inventory; name one of its hosts.")
            with ctx_state.use(self._state):
                answer = run(self._state, host, commands[name], timeout=timeout)
            return answer.output, answer.problem

        return dict(zip(commands, Pool(max(1, len(commands))).map(one, commands), strict=True))
