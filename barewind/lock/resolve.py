"""Names -> lock: the questions that `barewind lock` puts to registries and the hub."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from barewind import catalog
from barewind.engines import ENGINES, image, sizing
from barewind.lock import hub
from barewind.lock.file import Lock, WeightsName, read_token, wanted_weights
from barewind.lock.manifest import Manifest
from barewind.registry import lookup
from barewind.registry.reference import ImageName
from barewind.spec.keys import EngineSpec
from barewind.spec.site import Site


@dataclass(frozen=True)
class Needs:
    """What a site's hosts need, each once, with the spec of the first host that needs it."""

    images: dict[ImageName, EngineSpec]
    weights: dict[WeightsName, EngineSpec]


def needs(site: Site) -> Needs:
    """Every image and every revision that a site's hosts need."""
    images: dict[ImageName, EngineSpec] = {}
    weights: dict[WeightsName, EngineSpec] = {}
    for spec in site.engines.values():
        images.setdefault(image.reference(spec), spec)
        for name in wanted_weights(spec, sizing.size(spec).draft):
            weights.setdefault(name, spec)
    return Needs(images, weights)


def resolve(site: Site) -> Lock:
    """A lock of everything that a site's hosts need, all of it asked anew.

    Raises:
        BarewindError: a registry or the hub does not answer or does not have what is named.
    """
    return complete(site, Lock())


def complete(site: Site, lock: Lock) -> Lock:
    """A lock with all that a site's hosts need: entries that are there stay, so that no tag moves because a host was added.

    Raises:
        BarewindError: a registry or the hub does not answer or does not have what is named.
    """
    now = datetime.now(UTC).replace(microsecond=0)
    wanted = needs(site)
    images = {}
    for reference, spec in wanted.images.items():
        kept = lock.images.get(reference)
        if kept is None:
            image = lookup.resolve(
                reference,
                insecure_registries=tuple(spec.insecure_registries),
                logins=spec.registry_logins,
                version_variables=ENGINES[spec.engine].version_variables,
            )
            kept = image.model_copy(update={"locked": now})
        images[reference] = kept
    weights = [lock.manifest(*name) or _ask(name, spec) for name, spec in wanted.weights.items()]
    distinct = [manifest for number, manifest in enumerate(weights) if manifest not in weights[:number]]
    completed = Lock(created=lock.created or now, images=images, weights=distinct)
    return lock if (completed.images, completed.weights) == (lock.images, lock.weights) else completed


def _ask(name: WeightsName, spec: EngineSpec) -> Manifest:
    model, revision, layout = name
    patterns = catalog.models()[model].layouts[layout]
    return hub.resolve(model, revision, layout, patterns, endpoint=spec.hub_endpoint, token=read_token(spec))
