"""Which images a host may lose: by what it has, what it uses, and the releases that its history knows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from barewind.registry.reference import parse
from barewind.release.history import newest, read_events


def removable(facts: Mapping[str, Any], *, repositories: Iterable[str], wanted: Iterable[str], keep: int) -> list[str]:
    """References that `docker image rm` may take away.

    + facts: what `ImageHost` tells
    + repositories: whose images are ours beside those that the history names
    + wanted: images that the host shall have
    + keep: releases whose images stay; while the history knows fewer, everything does
    """
    image_of = {entry["release"]: entry["image"] for entry in facts["history"]}
    if len(image_of) < keep:
        return []
    kept_releases = newest(read_events(facts["events"]), image_of, keep)
    digests = {_digest(reference) for reference in (*wanted, *(image_of[release] for release in kept_releases))}
    ours = {*repositories, *(parse(image).name for image in image_of.values())}
    # An image can have several names: what is kept under any of them is kept under all.
    kept = {image["id"] for image in facts["images"] if image["digest"] in digests} | set(facts["used"])
    return [
        _reference(image)
        for image in facts["images"]
        if image["name"] in ours and image["id"] not in kept and (image["digest"] or image["tag"])
    ]


def _digest(reference: str) -> str:
    return reference.partition("@")[2]


def _reference(image: Mapping[str, str | None]) -> str:
    if image["digest"]:
        return f"{image['name']}@{image['digest']}"
    return f"{image['name']}:{image['tag']}"
