"""Which images a mirror keeps: from the tags that are there, the tags to write and the manifests to forget.

Each time the images that a fleet needs change, all of them get a tag of a new generation, FLEET.TIME.DIGEST. A manifest is
kept as long as a tag of one of the newest generations, of another fleet, or of somebody else is on it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

Image = tuple[str, str]  # repository and digest

_TAG = re.compile(r"(?P<fleet>[A-Za-z0-9_-]{1,60})\.(?P<time>\d{8}T\d{6}Z)\.[0-9a-f]{12}")


@dataclass(frozen=True)
class Decision:
    """The tags that a mirror gets, and the images that it forgets."""

    tags: dict[Image, str]
    forget: tuple[Image, ...]


def decide(
    tagged: Mapping[Image, frozenset[str]], wanted: frozenset[Image], *, fleet: str, keep: int, now: datetime
) -> Decision:
    """What a mirror gets and forgets so that it keeps `wanted` and the generations before, `keep` in all.

    + tagged: the tags of each image in the mirror
    + fleet: name of the fleet, as `fleet_name` makes it
    """
    generations: dict[str, set[Image]] = {}
    for image, tags in tagged.items():
        for tag in tags:
            if (parts := _TAG.fullmatch(tag)) and parts["fleet"] == fleet:
                generations.setdefault(parts["time"], set()).add(image)
    newest = max(generations, default="")
    fresh: dict[Image, str] = {}
    if generations.get(newest) != set(wanted):
        newest = max(f"{now:%Y%m%dT%H%M%SZ}", newest)
        generations.setdefault(newest, set()).update(wanted)
        fresh = {image: f"{fleet}.{newest}.{image[1].removeprefix('sha256:')[:12]}" for image in sorted(wanted)}
    kept = set().union(*(generations[time] for time in sorted(generations)[-keep:]))
    forget = [
        image
        for image, tags in tagged.items()
        if image not in kept and tags and all(_is_of(fleet, tag) for tag in tags)
    ]
    return Decision(fresh, tuple(sorted(forget)))


def fleet_name(inventory: str) -> str:
    """The name of a fleet, from its inventory's file: inventory/prod.py -> prod."""
    stem = inventory.rstrip("/").rpartition("/")[2].removesuffix(".py")
    return re.sub(r"[^A-Za-z0-9_-]+", "-", stem)[:60].strip("-") or "fleet"


def _is_of(fleet: str, tag: str) -> bool:
    parts = _TAG.fullmatch(tag)
    return parts is not None and parts["fleet"] == fleet
