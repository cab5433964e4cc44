"""A lock against registries and hub: what moved upstream, what is missing, what no host needs, how old it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from huggingface_hub import HfApi
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

from barewind.errors import BarewindError
from barewind.lock.file import Lock, WeightsName, read_token
from barewind.lock.hub import FAILURES, explained
from barewind.lock.resolve import Needs, needs
from barewind.registry.lookup import repository
from barewind.registry.reference import ImageName, parse
from barewind.spec.keys import EngineSpec
from barewind.spec.site import Site

State = Literal["same", "moved", "gone", "missing", "unneeded"]


@dataclass(frozen=True)
class Finding:
    """One entry of a lock, or one that should be there."""

    entry: str
    state: State
    detail: str


@dataclass(frozen=True)
class Report:
    """A finding for each entry, and a message for each that could not be asked about."""

    findings: list[Finding] = field(default_factory=list)
    unasked: list[str] = field(default_factory=list)

    @property
    def status(self) -> int:
        """The exit status: 0 up to date, 1 something moved or is missing, 2 something could not be asked."""
        if self.unasked:
            return 2
        return 1 if any(finding.state in ("moved", "gone", "missing") for finding in self.findings) else 0


def check(site: Site, lock: Lock, now: datetime) -> Report:
    """Ask registries and hub about everything a site needs; writes nothing, downloads nothing."""
    report = Report()
    wanted = needs(site)
    for reference, spec in wanted.images.items():
        try:
            report.findings.append(_image(reference, spec, lock, now))
        except BarewindError as error:
            report.unasked.append(str(error))
    for name, spec in wanted.weights.items():
        try:
            report.findings.append(_weights(name, spec, lock))
        except BarewindError as error:
            report.unasked.append(str(error))
    report.findings.extend(_unneeded(wanted, lock))
    return report


def age(since: datetime | None, now: datetime) -> str:
    """How long ago something was, in the unit a person would use."""
    if since is None:
        return "at an unknown time"
    hours = int((now - since).total_seconds() // 3600)
    if hours < 48:
        return f"{max(hours, 0)} h ago"
    return f"{hours // 24} days ago"


def _image(reference: ImageName, spec: EngineSpec, lock: Lock, now: datetime) -> Finding:
    entry = f"image {reference}"
    image = lock.images.get(reference)
    if image is None:
        return Finding(entry, "missing", "not in the lock file")
    source = repository(reference, tuple(spec.insecure_registries), spec.registry_logins)
    named = parse(reference)
    current = source.digest(named.digest or named.tag or "latest")
    locked = f"locked {age(image.locked or lock.created, now)}"
    built = "" if image.created is None else f", built {age(image.created, now)}"
    if current == image.digest:
        return Finding(entry, "same", f"{image.digest}, {locked}{built}")
    still_there = source.digest(image.digest) is not None
    fate = "" if still_there else "; the locked digest is gone upstream: only a mirror and hosts that have it still do"
    if current is None:
        return Finding(entry, "gone", f"the registry has no such tag any more, {locked}{fate}")
    return Finding(entry, "moved", f"{image.digest} -> {current}, {locked}{built}{fate}")


def _weights(name: WeightsName, spec: EngineSpec, lock: Lock) -> Finding:
    model, requested, layout = name
    entry = f"weights {model}@{requested} ({layout} layout)"
    manifest = lock.manifest(*name)
    if manifest is None:
        return Finding(entry, "missing", "not in the lock file")
    token = read_token(spec)
    api = HfApi(endpoint=spec.hub_endpoint, token=token or False)
    try:
        current = api.model_info(model, revision=requested).sha
    except FAILURES as error:
        if isinstance(error, RevisionNotFoundError | RepositoryNotFoundError) and not isinstance(error, GatedRepoError):
            return Finding(entry, "gone", "the hub has no such revision any more, or does not show it without a token")
        reason = explained(error, with_token=token is not None)
        raise BarewindError(f"weights {model}@{requested} on {spec.hub_endpoint}: {reason}.") from error
    if current == manifest.revision:
        return Finding(entry, "same", manifest.revision)
    return Finding(entry, "moved", f"{manifest.revision} -> {current}")


def _unneeded(wanted: Needs, lock: Lock) -> Iterator[Finding]:
    for reference in lock.images:
        if reference not in wanted.images:
            yield Finding(f"image {reference}", "unneeded", "no host serves it")
    kept = [lock.manifest(*name) for name in wanted.weights]
    for manifest in lock.weights:
        if manifest not in kept:
            entry = f"weights {manifest.model}@{manifest.requested} ({manifest.layout} layout)"
            yield Finding(entry, "unneeded", "no host serves them")
