"""`barewind verify`: every host against the plan."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import util
from pathlib import Path

import click

from barewind.cli.options import data_option, epilog, host_option, inventory_argument
from barewind.errors import BarewindError

_STATUS = {0: 0, 1: 1, 4: 1}  # of pytest -> ours; 4: an inventory that is not right


@click.command(
    epilog=epilog(
        "0: every host is as planned; 1: something is not, or the inventory is not right; 2: not looked at to the end",
        "barewind verify inventory/prod.py",
        "barewind verify inventory/prod.py --host gpu1 --host lb1",
    )
)
@inventory_argument
@host_option
@data_option
@click.pass_context
def verify(ctx: click.Context, inventory_file: str, only: tuple[str, ...], data: tuple[str, ...]) -> None:
    """Look at every host over SSH, and say what is not as planned. Nothing is changed.

    Each line that fails names the host, what was expected, what is there instead, and the next step.
    """
    package = util.find_spec("barewind.verify")
    if package is None or package.origin is None:
        raise BarewindError("barewind.verify: is not installed; install Barewind anew.")
    folder = Path(package.origin).parent
    # Without a summary: it tells each message again, whole where pytest takes itself to run in a CI, cut off elsewhere.
    words = [sys.executable, "-m", "pytest", "-q", "-rN", "-p", "no:cacheprovider", str(folder)]
    words += ["-c", os.devnull, f"--rootdir={folder.parents[1]}"]  # what a site's own tests are set to is not ours
    words += ["--inventory", inventory_file, *(word for name in only for word in ("--host", name))]
    words += [word for each in data for word in ("--data", each)]
    # A process of its own: pyinfra makes this one cooperative, which pytest should not be.
    ctx.exit(_STATUS.get(subprocess.run(words, check=False).returncode, 2))
