"""Operations of our own: each yields only the difference between what is and what shall be."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pyinfra.api import OperationError, StringCommand

APT_LOCK_TIMEOUT = 300  # seconds to wait for unattended upgrades to let go of the package database


@dataclass(frozen=True)
class ManagedFile:
    """A file owned by root: `content` is what it shall hold."""

    path: str
    content: str
    mode: str = "644"

    def differs(self, files: Mapping[str, Mapping[str, str]]) -> bool:
        """Whether the host's file (from a fact's `files`) is missing or another."""
        found = files.get(self.path)
        wanted = {
            "mode": self.mode,
            "owner": "root",
            "group": "root",
            "sha256": hashlib.sha256(self.content.encode()).hexdigest(),
        }
        return found is None or dict(found) != wanted

    def write(self, path: str | None = None) -> StringCommand:
        """Write it whole or not at all; the content travels on standard input, never in a process list."""
        target = shlex.quote(path or self.path)
        return StringCommand(
            f'mkdir -p "$(dirname {target})" && umask 077 && cat > {target}.new && chmod {self.mode} {target}.new '
            f"&& chown root:root {target}.new && mv -f {target}.new {target}",
            _stdin=self.content,
        )


def known(facts: Any, host: str, what: str) -> Any:
    """Facts, or an end to the run: what is not known must not be changed.

    Raises:
        OperationError: the fact could not be read.
    """
    if facts is None:
        raise OperationError(f"{host}: the state of {what} could not be read; see the error above, mend it, run again")
    return facts


def installed(packages: list[str], present: list[str]) -> Iterator[StringCommand]:
    """Install the packages that are missing."""
    missing = [package for package in packages if package not in present]
    if missing:
        apt = f"DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout={APT_LOCK_TIMEOUT}"
        yield StringCommand(f"{apt} update")
        yield StringCommand(f"{apt} install --no-install-recommends {shlex.join(missing)}")
