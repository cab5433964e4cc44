"""Names -> lock: what `barewind lock` asks registries and the hub."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from barewind import catalog, hub, registry, sizing
from barewind.lock import Lock, read_token, wanted_weights
from barewind.site import Site
from barewind.spec import EngineSpec
from barewind.weights import Manifest

WeightsName = tuple[str, str, Literal["mistral", "hf"]]  # model, revision as group data names it, layout


@dataclass(frozen=True)
class Needs:
    """What a site's hosts need, each once, with the spec of the first host that needs it."""

    images: dict[str, EngineSpec]
    weights: dict[WeightsName, EngineSpec]


def needs(site: Site) -> Needs:
    """Every image and every revision that a site's hosts need."""
    images: dict[str, EngineSpec] = {}
    weights: dict[WeightsName, EngineSpec] = {}
    for spec in site.engines.values():
        images.setdefault(sizing.reference(spec), spec)
        layout = catalog.engines()[spec.engine].layout
        for model, revision in wanted_weights(spec, sizing.size(spec).draft):
            weights.setdefault((model, revision, layout), spec)
    return Needs(images, weights)


def resolve(site: Site) -> Lock:
    """Resolve everything that a site's hosts need anew.

    Raises:
        BarewindError: a registry or the hub does not answer or does not have what is named.
    """
    return complete(site, Lock())


def complete(site: Site, held: Lock) -> Lock:
    """Keep what a lock holds of a site's needs, resolve what is missing, drop the rest: no tag moves because a host was added.

    Raises:
        BarewindError: a registry or the hub does not answer or does not have what is named.
    """
    now = datetime.now(UTC).replace(microsecond=0)
    wanted = needs(site)
    images = {}
    for reference, spec in wanted.images.items():
        kept = held.images.get(reference)
        if kept is None:
            found = registry.resolve(reference, insecure_registries=tuple(spec.insecure_registries))
            kept = found.model_copy(update={"locked": now})
        images[reference] = kept
    weights = [held.manifest(*name) or _ask(name, spec) for name, spec in wanted.weights.items()]
    distinct = [one for number, one in enumerate(weights) if one not in weights[:number]]
    made = Lock(created=held.created or now, images=images, weights=distinct)
    return held if (made.images, made.weights) == (held.images, held.weights) else made


def _ask(name: WeightsName, spec: EngineSpec) -> Manifest:
    model, revision, layout = name
    patterns = catalog.models()[model].layouts[layout]
    return hub.resolve(model, revision, layout, patterns, endpoint=spec.hub_endpoint, token=read_token(spec))
