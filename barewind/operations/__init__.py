"""Operations of our own: each yields only the difference between what is and what shall be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pyinfra.api import OperationError, StringCommand

from barewind import packages as apt
from barewind.files import HostFile
from barewind.packages import Installed, Package


class ManagedFile(HostFile):
    """A file that an operation writes."""

    def write(self, path: str | None = None) -> StringCommand:
        """Write it whole or not at all; the content travels on standard input, never in a process list."""
        return StringCommand(self.write_command(path), _stdin=self.content)


def known(facts: Any, host: str, what: str) -> Any:
    """Facts, or an end to the run: what is not known must not be changed.

    Raises:
        OperationError: the fact could not be read.
    """
    if facts is None:
        raise OperationError(f"{host}: the state of {what} could not be read; see the error above, mend it, run again")
    return facts


def installed(packages: list[str], present: Mapping[str, Installed], held: list[str]) -> Iterator[StringCommand]:
    """Install the packages that are missing, and hold those of `held`: no upgrade by others restarts what they run."""
    missing = apt.missing(map(Package.parse, packages), present)
    if missing:
        yield StringCommand(apt.update())
        yield StringCommand(apt.install(missing))
    free = apt.unheld(held, present)
    if free:
        yield StringCommand(apt.hold(free))
