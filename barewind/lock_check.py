"""How a lock stands against the world: what moved upstream, what is missing, what nobody needs, how old it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

import httpx2
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

from barewind import images, resolver
from barewind.errors import BarewindError
from barewind.lock import Lock, read_token
from barewind.registry.lookup import repository
from barewind.resolver import Needs, WeightsName
from barewind.site import Site
from barewind.spec import EngineSpec

State = Literal["same", "moved", "gone", "missing", "unneeded"]


@dataclass(frozen=True)
class Finding:
    """One entry of a lock, or one that should be there."""

    what: str
    state: State
    detail: str


@dataclass(frozen=True)
class Report:
    """Everything found, and what could not be asked."""

    findings: list[Finding] = field(default_factory=list)
    unasked: list[str] = field(default_factory=list)

    @property
    def status(self) -> int:
        """The exit status: 0 up to date, 1 something moved or is missing, 2 something could not be asked."""
        if self.unasked:
            return 2
        return 1 if any(one.state in ("moved", "gone", "missing") for one in self.findings) else 0


def check(site: Site, held: Lock, now: datetime) -> Report:
    """Ask registries and hub about everything a site needs; writes nothing, downloads nothing."""
    report = Report()
    wanted = resolver.needs(site)
    for reference, spec in wanted.images.items():
        try:
            report.findings.append(_image(reference, spec, held, now))
        except BarewindError as error:
            report.unasked.append(str(error))
    for name, spec in wanted.weights.items():
        try:
            report.findings.append(_weights(name, spec, held))
        except BarewindError as error:
            report.unasked.append(str(error))
    report.findings.extend(_unneeded(wanted, held))
    return report


def age(since: datetime | None, now: datetime) -> str:
    """How long ago something was, in the unit a person would use."""
    if since is None:
        return "at an unknown time"
    hours = int((now - since).total_seconds() // 3600)
    if hours < 48:
        return f"{max(hours, 0)} h ago"
    return f"{hours // 24} days ago"


def _image(reference: str, spec: EngineSpec, held: Lock, now: datetime) -> Finding:
    what = f"image {reference}"
    image = held.images.get(reference)
    if image is None:
        return Finding(what, "missing", "not in the lock file")
    source = repository(reference, tuple(spec.insecure_registries))
    named = images.parse(reference)
    found = source.digest(named.digest or named.tag or "latest")
    locked = f"locked {age(image.locked or held.created, now)}"
    built = "" if image.created is None else f", built {age(image.created, now)}"
    if found == image.digest:
        return Finding(what, "same", f"{image.digest}, {locked}{built}")
    left = source.digest(image.digest) is not None
    fate = "" if left else "; the locked digest is gone upstream: only a mirror and hosts that have it still do"
    if found is None:
        return Finding(what, "gone", f"the registry has no such tag any more, {locked}{fate}")
    return Finding(what, "moved", f"{image.digest} -> {found}, {locked}{built}{fate}")


def _weights(name: WeightsName, spec: EngineSpec, held: Lock) -> Finding:
    model, requested, layout = name
    what = f"weights {model}@{requested} ({layout} layout)"
    manifest = held.manifest(*name)
    if manifest is None:
        return Finding(what, "missing", "not in the lock file")
    api = HfApi(endpoint=spec.hub_endpoint, token=read_token(spec) or False)
    try:
        found = api.model_info(model, revision=requested).sha
    except (RevisionNotFoundError, RepositoryNotFoundError):
        return Finding(what, "gone", "the hub has no such revision any more, or does not show it without a token")
    except (HfHubHTTPError, httpx2.HTTPError, OSError) as error:
        raise BarewindError(
            f"weights {model}@{requested} on {spec.hub_endpoint}: the hub did not answer ({type(error).__name__}); check "
            "'hub_endpoint' and the network."
        ) from error
    if found == manifest.revision:
        return Finding(what, "same", manifest.revision)
    return Finding(what, "moved", f"{manifest.revision} -> {found}")


def _unneeded(wanted: Needs, held: Lock) -> Iterator[Finding]:
    for reference in held.images:
        if reference not in wanted.images:
            yield Finding(f"image {reference}", "unneeded", "no host serves it")
    kept = [held.manifest(*name) for name in wanted.weights]
    for manifest in held.weights:
        if manifest not in kept:
            what = f"weights {manifest.model}@{manifest.requested} ({manifest.layout} layout)"
            yield Finding(what, "unneeded", "no host serves them")
