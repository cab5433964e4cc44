"""Which release a host goes back to, and whether it can. Pure: histories in, targets and sentences out."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from barewind import history
from barewind.errors import BarewindError
from barewind.history import Event, Record

_MARK = "rollback\n"  # how the history tells a rollback from a deploy, whose reason is one line


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
        """When it came to that. That it was restored to it is the end of another release's rollout, not a rollout of its own."""
        events = [one for one in reversed(self.events) if one.release == self.current]
        return next((one for kind in ("started", "restored") for one in events if one.event == kind), None)


@dataclass(frozen=True)
class Targets:
    """Hosts that go back and to which release, and what is to be said about the others."""

    releases: Mapping[str, str]
    notes: tuple[str, ...]


def why(reason: str | None) -> str:
    """What the history says of a rollback."""
    return _MARK + (reason or "")


def targets(hosts: Sequence[Ran], named: str | None) -> Targets:
    """The release that each host goes back to; those that run it already are left alone.

    Without a name it is what served there before the newest release: hosts that a half-done rollout has not reached still run
    it. A half-done rollback goes on.

    Raises:
        BarewindError: no host knows the release, or one knows none to go back to.
    """
    if named is not None:
        return _named(hosts, named)
    releases: dict[str, str] = {}
    problems: list[str] = []
    for kind in dict.fromkeys(one.kind for one in hosts):
        alike = [one for one in hosts if one.kind == kind]
        latest = max(alike, key=lambda one: one.since.at if one.since else "")
        newest = latest.since
        if newest is None:
            problems += [f"{one.host}: its history is empty; name a release, or deploy" for one in alike]
            continue
        leaving = newest.release
        if (newest.why or "").startswith(_MARK):
            older = latest.events[: latest.events.index(newest)]
            undone = _begun_last(older, newest.release)
            behind = [one for one in alike if one.current != newest.release]
            if behind and history.previous(older, undone) != newest.release:  # it was named, and ended early
                releases |= {one.host: newest.release for one in behind}
                continue
            if any(one.current == undone for one in behind):  # it ended early: the others go back to what served there
                leaving = undone or leaving
        for one in alike:
            if one.current != leaving:
                continue
            before = history.previous(one.events, leaving)
            if before is None:
                problems.append(f"{one.host}: has served nothing before {leaving}; name a release, or deploy")
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


def _begun_last(events: Sequence[Event], but: str) -> str | None:
    """The release that was begun, or restored, last, but for one."""
    begun = (one.release for one in reversed(events) if one.event in ("started", "restored"))
    return next((release for release in begun if release != but), None)


def _left(one: Ran, releases: Mapping[str, str], named: str | None = None) -> str:
    if named is not None and named not in one.records:
        return f"{one.host}: never served {named}; left as it is, with {one.current or 'nothing'}"
    already = one.current is not None and one.current in (named, *releases.values())
    return f"{one.host}: left as it is, with {one.current or 'nothing'}{' already' if already else ''}"
