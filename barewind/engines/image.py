"""Which image a host's keys name, and the engine's version by its tag."""

from __future__ import annotations

import re

from barewind import catalog
from barewind.registry.reference import ImageName, parse
from barewind.spec.keys import EngineSpec


def version(spec: EngineSpec) -> str | None:
    """The engine's version by its image's tag (v0.32.0-cu129 -> 0.32.0); None for a nightly, which is newer than all.

    None too where keys name no image at all, which validation refuses.
    """
    if spec.image is None and not has_upstream(spec):
        return None
    pattern = catalog.engines()[spec.engine].version_in_tag
    match = re.match(pattern, parse(reference(spec)).tag or "")
    return match[1] if match else None


def has_upstream(spec: EngineSpec) -> bool:
    """Whether upstream publishes an image for the host's engine, accelerators and channel."""
    entry, accelerator = catalog.engines()[spec.engine], catalog.accelerators()[spec.accelerator]
    return not accelerator.is_cpu and spec.channel in entry.channels.get(accelerator.vendor, {})


def software_version(spec: EngineSpec) -> str | None:
    """The version of the vendor's software in a host's image, by its tag; None where that does not tell: the newest known."""
    entry, named = catalog.engines()[spec.engine], parse(reference(spec))
    name = catalog.accelerators()[spec.accelerator].vendor
    vendor = catalog.vendors().get(name)
    if vendor is None or vendor.image_version is None:
        return None
    for word in re.split(r"[-._]", named.tag or ""):
        if match := re.fullmatch(vendor.image_version, word):
            return f"{match[1]}.{match[2]}".removesuffix(".")
    return entry.untold_software.get(name) if named.tag and named.name == entry.images.get(name) else None


def built_for(image: ImageName, engine: str) -> str | None:
    """The vendor for whose accelerators an image is built, by upstream's names; None where the name does not say."""
    entry, named = catalog.engines()[engine], parse(image)
    words = re.split(r"[-._]", named.tag or "")
    for vendor, known in catalog.vendors().items():
        if any(re.fullmatch(pattern, word) for pattern in known.image_words for word in words):
            return vendor
    if set(words) & set(entry.cpu_words) or (entry.cpu_words and named.tag is None):
        return None
    return next((vendor for vendor, repository in entry.images.items() if repository == named.name), None)


def reference(spec: EngineSpec) -> ImageName:
    """The image that a host's keys name, by tag or digest; the lock pins it."""
    if spec.image:
        return spec.image
    entry = catalog.engines()[spec.engine]
    vendor = catalog.accelerators()[spec.accelerator].vendor
    assert not catalog.accelerators()[spec.accelerator].is_cpu, "validation asks for an image where there is no vendor"  # noqa: S101
    return ImageName(f"{entry.images[vendor]}:{entry.channels[vendor][spec.channel]}")
