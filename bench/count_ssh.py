"""Run pyinfra and write how many SSH executions each host got: `python -m bench.count_ssh RESULT.json PYINFRA-ARGUMENTS`."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pyinfra_cli.main as pyinfra_command  # first: it makes the process cooperative, which paramiko must find done

import paramiko  # isort: skip

counts: Counter[str] = Counter()


def count_sessions() -> None:
    """Every command over SSH opens one session on its host's transport."""
    opened = paramiko.Transport.open_session

    def counted(self: paramiko.Transport, *args: Any, **kwargs: Any) -> paramiko.Channel:
        counts[self.getpeername()[0]] += 1
        return opened(self, *args, **kwargs)

    paramiko.Transport.open_session = counted  # type: ignore[method-assign]


if __name__ == "__main__":
    result = Path(sys.argv.pop(1))
    count_sessions()
    try:
        pyinfra_command.main()
    finally:
        result.write_text(json.dumps(counts))
