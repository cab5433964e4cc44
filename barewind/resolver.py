"""Names -> lock: what `barewind lock` asks registries and the hub."""

from __future__ import annotations

from datetime import UTC, datetime

from barewind import catalog, hub, registry, sizing
from barewind.lock import Lock, LockedImage, read_token, wanted_weights
from barewind.site import Site
from barewind.weights import Manifest


def resolve(site: Site) -> Lock:
    """Resolve every image and every revision that a site's hosts need.

    Raises:
        BarewindError: a registry or the hub does not answer or does not have what is named.
    """
    found_images: dict[str, LockedImage] = {}
    found_weights: dict[tuple[str, str, str], Manifest] = {}
    for spec in site.engines.values():
        reference = sizing.reference(spec)
        if reference not in found_images:
            found_images[reference] = registry.resolve(reference, insecure_registries=tuple(spec.insecure_registries))
        layout = catalog.engines()[spec.engine].layout
        for model, revision in wanted_weights(spec, sizing.size(spec).draft):
            if (model, revision, layout) not in found_weights:
                found_weights[model, revision, layout] = hub.resolve(
                    model,
                    revision,
                    layout,
                    catalog.models()[model].layouts[layout],
                    endpoint=spec.hub_endpoint,
                    token=read_token(spec),
                )
    return Lock(
        created=datetime.now(UTC).replace(microsecond=0),
        images=found_images,
        weights=list(found_weights.values()),
    )
