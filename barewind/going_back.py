"""Which release a host goes back to, and whether it can. Pure: histories in, targets and sentences out."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from barewind import history
from barewind.errors import BarewindError
from barewind.history import Event, Record

WHY = "rollback"  # how the history tells a rollback from a deploy


@dataclass(frozen=True)
class Ran:
    """One host of a run: what it runs and has run. Hosts of the same `kind` are meant to serve the same release."""

    host: str
    kind: str
    running: str | None  # by its container; None if none runs
    events: Sequence[Event]  # oldest first
    records: Mapping[str, Record]

    @property
    def current(self) -> str | None:
        """What it runs, or was about to."""
        return self.running or next((one.release for one in reversed(self.events) if one.event == "started"), None)

    @property
    def since(self) -> Event | None:
        """When it came to that."""
        events = (one for one in reversed(self.events) if one.release == self.current)
        return next((one for one in events if one.event in ("started", "restored")), None)


@dataclass(frozen=True)
class Targets:
    """Hosts that go back and to which release, and what is to be said about the others."""

    releases: Mapping[str, str]
    notes: tuple[str, ...]


def why(reason: str | None) -> str:
    """What the history says of a rollback."""
    return f"{WHY}: {reason}" if reason else WHY


def targets(hosts: Sequence[Ran], named: str | None) -> Targets:
    """The release that each host goes back to; those that run it already are left alone.

    Without a name it is what served before the newest release: hosts that a half-done rollout has not reached still run it.
    A half-done rollback goes on.

    Raises:
        BarewindError: no host knows the release, or one knows none to go back to.
    """
    if named is not None:
        return _named(hosts, named)
    releases: dict[str, str] = {}
    problems: list[str] = []
    for kind in dict.fromkeys(one.kind for one in hosts):
        alike = [one for one in hosts if one.kind == kind]
        newest = max((one.since for one in alike if one.since is not None), key=lambda event: event.at, default=None)
        if newest is None:
            problems += [f"{one.host}: its history is empty; name a release, or deploy" for one in alike]
            continue
        behind = [one for one in alike if one.current != newest.release]
        if behind and (newest.why or "").startswith(WHY):  # a rollback that ended early
            releases |= {one.host: newest.release for one in behind}
            continue
        for one in alike:
            before = history.previous(one.events, newest.release)
            if one.current != newest.release:
                continue
            if before is None:
                problems.append(f"{one.host}: has served nothing before {newest.release}; name a release, or deploy")
            else:
                releases[one.host] = before
    if problems:
        raise BarewindError("\n".join(problems))
    return Targets(releases, tuple(_left(one, releases) for one in hosts if one.host not in releases))


def refused(host: str, records: Mapping[str, Record], release: str, *, port: int) -> str | None:
    """Why a host cannot run a release again, as far as its records tell; None if it can. `port` is what balancers know."""
    record = records.get(release)
    if record is None:
        return f"{host}: has no record of release {release}; it knows {', '.join(records) or 'none'}"
    if record.port != port:
        return (
            f"{host}: release {release} listens on port {record.port}, balancers look for it on {port}; set engine_port back "
            "and deploy"
        )
    return None


def lacking(record: Record) -> str:
    """A command that prints the directories of weights that are not there, or not whole."""
    directories = " ".join(shlex.quote(one) for one in record.weights)
    return f'for d in {directories or "/"}; do [ "$d" = / ] || [ -f "$d/.verified" ] || echo "$d"; done'


def has_image(record: Record) -> str:
    """A command that fails where its image is not."""
    return f"docker image inspect -f present {shlex.quote(record.image)}"


def _named(hosts: Sequence[Ran], release: str) -> Targets:
    knowing = [one for one in hosts if release in one.records]
    if not knowing:
        known = sorted({name for one in hosts for name in one.records})
        raise BarewindError(
            f"release {release}: no host of this run has served it; they know {', '.join(known) or 'none'}"
        )
    releases = {one.host: release for one in knowing if one.current != release}
    return Targets(releases, tuple(_left(one, releases, release) for one in hosts if one.host not in releases))


def _left(one: Ran, releases: Mapping[str, str], named: str | None = None) -> str:
    if named is not None and named not in one.records:
        return f"{one.host}: never served {named}; left as it is, with {one.current or 'nothing'}"
    already = one.current is not None and one.current in (named, *releases.values())
    return f"{one.host}: left as it is, with {one.current or 'nothing'}{' already' if already else ''}"
