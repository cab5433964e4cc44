"""Maintenance: a person has drained a host, and nothing but a person undrains it. The host itself says who, when and why.

A host that is drained without maintenance was left behind by a run that ended early, and the next one undrains it. Pure:
commands for the host, what they print read back, and which hosts a person's drain and undrain are about.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from barewind.balancer import commands as balancer
from barewind.balancer.commands import Rotation
from barewind.balancer.drain import Drain
from barewind.hosts.paths import SETTINGS
from barewind.spec.keys import EngineSpec

FILE = f"{SETTINGS}/drained.json"
READ = f"cat {FILE}"
END = f"rm -f {FILE}"


@dataclass(frozen=True)
class Maintenance:
    """Who drained a host, since when (ISO 8601, UTC, the host's clock), and why, if they said."""

    at: str
    by: str
    why: str | None = None

    @property
    def message(self) -> str:
        """Who, since when and why, in words."""
        return f"by {self.by} since {self.at}" + (f": {self.why}" if self.why else "")


def begin(by: str, why: str | None) -> str:
    """Shell command that notes on a host that it is in maintenance, whole or not at all; a note that is there stays as it is."""
    body = shlex.quote(json.dumps({"by": by, "why": why})[1:])
    return (
        f"[ -e {FILE} ] || {{ mkdir -p {FILE.rpartition('/')[0]} && umask 022 && "
        f'printf \'{{"at": "%s", %s\\n\' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" {body} > {FILE}.new && mv -f {FILE}.new {FILE}; }}'
    )


def read(lines: Iterable[str]) -> Maintenance | None:
    """The maintenance of a host, from what `READ` printed. A note that cannot be read counts: somebody meant the host to stay
    drained."""
    text = "".join(lines).strip()
    if not text:
        return None
    try:
        note = json.loads(text)
        return Maintenance(str(note["at"]), str(note["by"]), note.get("why"))
    except (ValueError, LookupError, TypeError, AttributeError):
        return Maintenance("an unknown time", "somebody", f"{FILE} cannot be read")


def drain_of(spec: EngineSpec, together: Mapping[str, EngineSpec]) -> Drain:
    """The drain of one of several hosts that a person drains together: downtime is allowed only if each of them allows it."""
    allowed = bool(together) and all(other.allow_downtime for other in together.values())
    return replace(Drain.of(spec, tuple(together)), allow_downtime=allowed)


def to_undrain(
    rotations: Mapping[str, Rotation], hosts: Iterable[str], in_maintenance: Collection[str]
) -> tuple[str, ...]:
    """The hosts that a person's undrain is about: those in maintenance, those that some balancer drains, and those that a
    balancer knows and no balancer can send requests for another reason."""
    using = rotations.values()
    return tuple(
        name
        for name in hosts
        if name in in_maintenance
        or balancer.drained_on(rotations, name)
        or (balancer.known(using, name) and not balancer.available(using, name))
    )
