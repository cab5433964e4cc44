"""A host that is drained on purpose says so itself: who, when and why. Pure: commands for the host, and what they mean.

What is drained without this mark was left behind by a run that ended early, and the next one returns it.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable
from dataclasses import dataclass

FILE = "/etc/barewind/drained.json"
READ = f"cat {FILE}"
ABSENT = f"rm -f {FILE}"


@dataclass(frozen=True)
class Mark:
    """Who drained a host, since when (ISO 8601, UTC, the host's clock), and why, if they said."""

    at: str
    by: str
    why: str | None = None

    @property
    def said(self) -> str:
        """In words."""
        return f"by {self.by} since {self.at}" + (f": {self.why}" if self.why else "")


def write(by: str, why: str | None) -> str:
    """A command that marks the host: whole or not at all; a mark that is there stays as it is."""
    body = shlex.quote(json.dumps({"by": by, "why": why})[1:])
    return (
        f"[ -e {FILE} ] || {{ mkdir -p {FILE.rpartition('/')[0]} && umask 022 && "
        f'printf \'{{"at": "%s", %s\\n\' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" {body} > {FILE}.new && mv -f {FILE}.new {FILE}; }}'
    )


def read(lines: Iterable[str]) -> Mark | None:
    """What `READ` printed. A file that cannot be read is a mark too: somebody meant the host to stay out."""
    text = "".join(lines).strip()
    if not text:
        return None
    try:
        found = json.loads(text)
        return Mark(str(found["at"]), str(found["by"]), found.get("why"))
    except (ValueError, LookupError, TypeError, AttributeError):
        return Mark("an unknown time", "somebody", f"{FILE} cannot be read")
