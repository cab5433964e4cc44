"""The person and the machine that run Barewind."""

from __future__ import annotations

import getpass
import os
import socket


def controller() -> str:
    """Who runs this command, as events and leases name them: user@hostname."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
