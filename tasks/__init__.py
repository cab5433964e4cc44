"""What people run (deploy.py and its neighbours), and its steps, one file each."""

from __future__ import annotations

from pathlib import Path


def include(name: str) -> None:
    """Execute a file of this folder for the host in hand: `deploy`, `drain`, ... The files of a site do nothing else.

    The operations keep their names and their order: pyinfra's own `local.include` would put the file's path in front of each.
    """
    from pyinfra_cli.util import exec_file

    exec_file(str(Path(__file__).with_name(f"{name}.py")))
