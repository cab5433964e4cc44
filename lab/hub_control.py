"""Python's side of the hub's /_lab/ pages: make it misbehave, see what was asked of it."""

import json
import urllib.request
from dataclasses import dataclass
from typing import Any, Literal

from lab import topology

TIMEOUT = 10  # seconds


@dataclass(frozen=True)
class Asked:
    """One request the hub has answered. `range` is the Range header."""

    method: str
    path: str
    status: int
    range: str | None


def healthy() -> bool:
    """Does the hub answer?"""
    try:
        _call("GET", "health", timeout=2)
    except OSError:
        return False
    return True


def fault(
    path: str,
    kind: Literal["corrupt", "truncate", "status"],
    *,
    times: int = 1,
    status: int = 503,
    retry_after: int | None = None,
) -> None:
    """Misbehave for the next `times` requests whose path fits the pattern (`*` stands for anything).

    A download asks twice, HEAD then GET; `corrupt` and `truncate` show in GET only, so count both.
    """
    wanted: dict[str, Any] = {"path": path, "kind": kind, "times": times, "status": status}
    if retry_after is not None:
        wanted["retry_after"] = retry_after
    _call("POST", "faults", wanted)


def reset() -> None:
    """Forget all faults and recorded requests."""
    _call("DELETE", "faults")
    _call("DELETE", "requests")


def requests() -> list[Asked]:
    """What was asked since the last reset, oldest first."""
    return [Asked(**request) for request in _call("GET", "requests")]


def _call(method: str, page: str, value: object = None, timeout: float = TIMEOUT) -> Any:
    data = None if value is None else json.dumps(value).encode()
    request = urllib.request.Request(f"{topology.HUB}/_lab/{page}", data=data, method=method)  # noqa: S310
    with urllib.request.urlopen(request, timeout=timeout) as response:  # noqa: S310 - a constant http address
        return json.loads(response.read())
