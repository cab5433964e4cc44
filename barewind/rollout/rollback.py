"""Which release a host is rolled back to, and whether it can be. Pure: histories in, releases and sentences out."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from barewind.checksums import VERIFIED
from barewind.errors import BarewindError
from barewind.gate import plan as gates
from barewind.gate.plan import Gate
from barewind.plan import secrets
from barewind.plan.engine import EnginePlan
from barewind.release import history
from barewind.release.history import Event
from barewind.release.record import Record, unit_path


@dataclass(frozen=True)
class HostHistory:
    """What one engine of a run has served, by its name. Engines of the same `kind` are meant to serve the same release."""

    host: str
    kind: str
    running: str | None  # by its container; None if none runs
    events: Sequence[Event]  # oldest first
    records: Mapping[str, Record]

    @property
    def current(self) -> str | None:
        """The release that it runs, or was about to run."""
        return self.running or next(
            (event.release for event in reversed(self.events) if event.event == "started"), None
        )

    @property
    def since(self) -> Event | None:
        """The event that brought it there. That it was rolled back there by a run that failed is the end of another release's
        rollout, and not a rollout of its own."""
        events = [event for event in reversed(self.events) if event.release == self.current]
        return next((event for kind in ("started", "restored") for event in events if event.event == kind), None)


@dataclass(frozen=True)
class Rollback:
    """The release that each host is rolled back to, and sentences about the hosts that are left alone."""

    releases: Mapping[str, str]
    messages: tuple[str, ...]


def plan(hosts: Sequence[HostHistory], named: str | None) -> Rollback:
    """Which host is rolled back to which release; those that run it already are left alone.

    Without a name it is what served there before the newest release: hosts that a half-done rollout has not reached still run
    it. A half-done rollback goes on.

    Raises:
        BarewindError: no host knows the release, or a host knows none to go back to.
    """
    if named is not None:
        return _to_named(hosts, named)
    releases: dict[str, str] = {}
    problems: list[str] = []
    for kind in dict.fromkeys(host.kind for host in hosts):
        alike = [host for host in hosts if host.kind == kind]
        latest = max(alike, key=lambda host: host.since.at if host.since else "")
        newest = latest.since
        if newest is None:
            problems += [f"{host.host}: its history is empty; name a release, or deploy" for host in alike]
            continue
        unwanted = newest.release
        if newest.rollback:
            older = latest.events[: latest.events.index(newest)]
            rolled_back = _started_last(older, newest.release)
            behind = [host for host in alike if host.current != newest.release]
            if behind and history.previous(older, rolled_back) != newest.release:  # it was named, and ended early
                releases |= {host.host: newest.release for host in behind}
                continue
            if any(host.current == rolled_back for host in behind):  # it ended early: the others go back as well
                unwanted = rolled_back or unwanted
        for host in alike:
            if host.current != unwanted:
                continue
            before = history.previous(host.events, unwanted)
            if before is None:
                problems.append(f"{host.host}: has served nothing before {unwanted}; name a release, or deploy")
            else:
                releases[host.host] = before
    if problems:
        raise BarewindError("\n".join(problems))
    return Rollback(releases, tuple(_left_alone(host, releases) for host in hosts if host.host not in releases))


def refusal(host: str, records: Mapping[str, Record], release: str, *, port: int) -> str | None:
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


def refusals(
    histories: Mapping[str, HostHistory], releases: Mapping[str, str], ports: Mapping[str, int]
) -> dict[str, str]:
    """Hosts that cannot be rolled back to the release that is meant for them, and why; `ports` are what balancers know."""
    reasons = {
        name: refusal(name, histories[name].records, release, port=ports[name]) for name, release in releases.items()
    }
    return {name: reason for name, reason in reasons.items() if reason is not None}


def gate(history: HostHistory, record: Record | None, plan: EnginePlan) -> Gate:
    """The gate of the record that a host is rolled back to; without one, of what it runs or was about to run, planned or not."""
    if record is not None:
        return gates.of_record(record, plan)
    return gates.of_running(history.current or str(plan.release), history.records, plan)


def show_missing(record: Record) -> str:
    """Shell command that prints what a release needs and the host does not have whole: weights, its unit, its secrets."""
    directories = " ".join(shlex.quote(directory) for directory in record.weights)
    weights = f'for d in {directories or "/"}; do [ "$d" = / ] || [ -f "$d/{VERIFIED}" ] || echo "$d"; done'
    if record.secrets:
        file = secrets.file_path(record.release)
        weights += f"; [ -s {file} ] || echo {file}"
    if record.unit_sha256 is None:
        return weights
    unit = unit_path(record.release)
    return f'{weights}; [ "$({{ sha256sum < {unit}; }} 2>/dev/null | cut -d" " -f1)" = {record.unit_sha256} ] || echo {unit}'


def missing(host: str, record: Record, output: str) -> list[str]:
    """Problems of a host that lacks something, from what `show_missing` printed there."""
    kept = {secrets.file_path(record.release): "nobody else knows its secrets: deploy with those of today"}
    remedy = "lock its revision again and deploy"
    return [
        f"{host}: release {record.release} needs {path}, which is not there any more; {kept.get(path, remedy)}"
        for path in output.split()
    ]


def has_image(record: Record) -> str:
    """Shell command that fails where the image of a release is not."""
    return f"docker image inspect -f present {shlex.quote(record.image)}"


def _to_named(hosts: Sequence[HostHistory], release: str) -> Rollback:
    knowing = [host for host in hosts if release in host.records]
    if not knowing:
        known = sorted({name for host in hosts for name in host.records})
        raise BarewindError(
            f"release {release}: no host of this run has served it; they know {', '.join(known) or 'none'}"
        )
    releases = {host.host: release for host in knowing if host.current != release}
    messages = tuple(_left_alone(host, releases, release) for host in hosts if host.host not in releases)
    return Rollback(releases, messages)


def _started_last(events: Sequence[Event], but: str) -> str | None:
    """The release that was started, or rolled back to, last, but for one."""
    started = (event.release for event in reversed(events) if event.event in ("started", "restored"))
    return next((release for release in started if release != but), None)


def _left_alone(host: HostHistory, releases: Mapping[str, str], named: str | None = None) -> str:
    if named is not None and named not in host.records:
        return f"{host.host}: never served {named}; left as it is, with {host.current or 'nothing'}"
    already = host.current is not None and host.current in (named, *releases.values())
    return f"{host.host}: left as it is, with {host.current or 'nothing'}{' already' if already else ''}"
