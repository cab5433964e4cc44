"""Which images a host may lose. Pure: what it has, uses, and has served in; references to remove out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from barewind.images import parse


def removable(facts: Mapping[str, Any], *, repositories: Iterable[str], wanted: Iterable[str], keep: int) -> list[str]:
    """References that `docker image rm` may take away.

    + facts: what `ImageHost` tells
    + repositories: whose images are ours beside those that the history names
    + wanted: images that the host shall have
    + keep: releases whose images stay; while the history knows fewer, everything does
    """
    window: dict[str, set[str]] = {}  # release -> digests of its image
    for entry in facts["history"]:  # newest first
        if entry["release"] in window or len(window) < keep:
            window.setdefault(entry["release"], set()).add(_digest(entry["image"]))
    if len(window) < keep:
        return []
    digests = {_digest(one) for one in wanted}.union(*window.values())
    ours = {*repositories, *(parse(entry["image"]).name for entry in facts["history"])}
    # One image can have several names: what is kept under one of them is kept under all.
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
