"""Files that a host shall have: their content, and the shell commands that write them."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class HostFile:
    """A file owned by root, and the `content` that it shall hold: whole lines, the last one too.

    pyinfra ends the last line where nobody has: left open, the file would be another at every look.
    """

    path: str
    content: str = field(repr=False)  # it may be a secret
    mode: str = "644"

    def __post_init__(self) -> None:
        if not self.content.endswith("\n"):
            object.__setattr__(self, "content", f"{self.content}\n")

    @property
    def sha256(self) -> str:
        """SHA-256 of the content, hexadecimal."""
        return hashlib.sha256(self.content.encode()).hexdigest()

    def differs(self, files: Mapping[str, Mapping[str, str]]) -> bool:
        """Whether the host lacks the file or has another one, by the `files` of a fact."""
        return _differs(files.get(self.path), self.mode, self.sha256)

    def write_command(self, path: str | None = None) -> str:
        """Shell command that writes the file whole or not at all, from standard input, which no process list shows."""
        return _write("cat", path or self.path, self.mode)


@dataclass(frozen=True)
class HostCopy:
    """A file owned by root that shall be a copy of another file of the host: of `source`, whose SHA-256 must be `sha256`."""

    path: str
    source: str
    sha256: str
    mode: str = "644"

    def differs(self, files: Mapping[str, Mapping[str, str]]) -> bool:
        """Whether the host lacks the file or has another one, by the `files` of a fact."""
        return _differs(files.get(self.path), self.mode, self.sha256)

    def write_command(self) -> str:
        """Shell command that writes the copy whole or not at all; the content never leaves the host."""
        source = shlex.quote(self.source)
        return (
            f'[ "$({{ sha256sum < {source}; }} 2>/dev/null | cut -d" " -f1)" = {self.sha256} ] || '
            f"{{ echo {shlex.quote(f'{self.source}: is not there any more, or was changed')} >&2; exit 1; }}; "
            f"{_write(f'cat {source}', self.path, self.mode)}"
        )


def _differs(present: Mapping[str, str] | None, mode: str, sha256: str) -> bool:
    return present is None or dict(present) != {"mode": mode, "owner": "root", "group": "root", "sha256": sha256}


def _write(content: str, path: str, mode: str) -> str:
    """Shell command that writes the output of the command `content` to a file."""
    target = shlex.quote(path)
    return (
        f'mkdir -p "$(dirname {target})" && umask 077 && {content} > {target}.new && chmod {mode} {target}.new '
        f"&& chown root:root {target}.new && mv -f {target}.new {target}"
    )
