"""Parts of operations that every slice uses: each yields only the difference between what is and what shall be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pyinfra.api import OperationError, StringCommand

from barewind.hosts import packages as apt
from barewind.hosts.file import HostCopy, HostFile
from barewind.hosts.packages import Installed, Package


class ManagedFile(HostFile):
    """A file that an operation writes."""

    def write(self, path: str | None = None) -> StringCommand:
        """Command that writes the file whole or not at all; the content travels on standard input, never in a process list."""
        return StringCommand(self.write_command(path), _stdin=self.content)


def written(file: HostFile | HostCopy) -> StringCommand:
    """Command that writes a file whole or not at all; its content is never in a process list."""
    if isinstance(file, HostCopy):
        return StringCommand(file.write_command())
    return StringCommand(file.write_command(), _stdin=file.content)


def known(facts: Any, host: str, what: str) -> Any:
    """The facts, if they could be read: what is not known must not be changed.

    Raises:
        OperationError: the fact could not be read.
    """
    if facts is None:
        raise OperationError(f"{host}: the state of {what} could not be read; see the error above, mend it, run again")
    return facts


def installed(packages: list[str], present: Mapping[str, Installed], held: list[str]) -> Iterator[StringCommand]:
    """Commands that install missing packages and hold those in `held`, so that no upgrade by others restarts what they run."""
    missing = apt.missing(map(Package.parse, packages), present)
    if missing:
        yield StringCommand(apt.update())
        yield StringCommand(apt.install(missing))
    free = apt.unheld(held, present)
    if free:
        yield StringCommand(apt.hold(free))
