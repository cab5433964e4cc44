"""Run pyinfra and write what each host was asked over SSH: `python -m bench.count_ssh RESULT.json PYINFRA-ARGUMENTS`.

RESULT.json: by address, `executions` (sessions opened: what costs a process of sshd's and a login) and `commands` (round trips:
those through a shell that is held open have no execution of their own).
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pyinfra_cli.main as pyinfra_command  # first: it makes the process cooperative, which paramiko must find done

import paramiko  # isort: skip
from pyinfra.connectors.ssh import SSHConnector  # isort: skip

executions: Counter[str] = Counter()
commands: Counter[str] = Counter()


def count() -> None:
    """Count the sessions that are opened on each host's transport, and the commands that its connector runs."""
    open_session, run_shell_command = paramiko.Transport.open_session, SSHConnector.run_shell_command

    def open_counted(self: paramiko.Transport, *args: Any, **kwargs: Any) -> paramiko.Channel:
        executions[self.getpeername()[0]] += 1
        return open_session(self, *args, **kwargs)

    def run_counted(self: SSHConnector, *args: Any, **kwargs: Any) -> Any:
        transport = self.client.get_transport() if self.client else None
        if transport is not None:
            commands[transport.getpeername()[0]] += 1
        return run_shell_command(self, *args, **kwargs)

    setattr(paramiko.Transport, open_session.__name__, open_counted)
    setattr(SSHConnector, run_shell_command.__name__, run_counted)


if __name__ == "__main__":
    result = Path(sys.argv.pop(1))
    count()
    try:
        pyinfra_command.main()
    finally:
        counts = {host: {"executions": executions[host], "commands": commands[host]} for host in executions | commands}
        result.write_text(json.dumps(counts))
