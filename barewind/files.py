"""Files that a host shall have, as data."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class HostFile:
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

    def write_command(self, path: str | None = None) -> str:
        """Writes it whole or not at all; the content comes on standard input, so that no process list shows it."""
        target = shlex.quote(path or self.path)
        return (
            f'mkdir -p "$(dirname {target})" && umask 077 && cat > {target}.new && chmod {self.mode} {target}.new '
            f"&& chown root:root {target}.new && mv -f {target}.new {target}"
        )
