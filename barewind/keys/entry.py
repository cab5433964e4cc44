"""An API key as the site's file and a balancer's map have it: never its text. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Priority = Literal["interactive", "normal", "batch"]

CLASSES: dict[Priority, int] = {
    "interactive": -10,
    "normal": 0,
    "batch": 10,
}  # HAProxy's priority classes: the lowest comes first


@dataclass(frozen=True)
class Key:
    """One API key. Several may have one id, whose limits and usage they share. None: no limit, no end."""

    id: str  # team or team/name: what logs, limits and usage go by
    sha256: str  # of the whole key, hexadecimal
    hint: str  # its last characters, for people
    created: datetime
    by: str  # user@controller
    expires: datetime | None = None
    revoked: datetime | None = None
    requests_per_minute: int | None = None
    parallel: int | None = None  # requests at a time
    tokens_per_minute: int | None = None
    priority: Priority = "normal"


def map_line(key: Key) -> str:
    """The line of a balancer's map: SHA-256, and id:requests per minute:parallel:tokens per minute:class:expires, 0 for none."""
    limits = (key.requests_per_minute, key.parallel, key.tokens_per_minute)
    expires = 0 if key.expires is None else int(key.expires.timestamp())
    fields = (key.id, *(limit or 0 for limit in limits), CLASSES[key.priority], expires)
    return f"{key.sha256} {':'.join(map(str, fields))}"
