"""The hub's token, and a client of its /_lab/ pages: faults for tests, and the requests that it has answered."""

import json
import secrets
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lab import paths, state, topology

TIMEOUT = 60  # seconds


@dataclass(frozen=True)
class Asked:
    """A request that the hub has answered. `range`: its Range header."""

    method: str
    path: str
    status: int
    range: str | None


def healthy() -> bool:
    """Whether the hub answers."""
    try:
        _call("GET", "health", timeout=2)
    except OSError:
        return False
    return True


def token_path() -> Path:
    """File with the token for the hub's gated repository."""
    return paths.state() / "hub_token"


def token() -> str:
    """The token for the hub's gated repository, made when there is none."""
    if not token_path().exists():
        state.write_text(token_path(), f"hf_lab{secrets.token_hex(12)}\n", mode=0o600)
    return token_path().read_text().strip()


def fault(
    path: str,
    kind: Literal["corrupt", "truncate", "status"],
    *,
    times: int = 1,
    status: int = 503,
    retry_after: int | None = None,
) -> None:
    """Have the next `times` requests whose path matches a pattern (with `*`) go wrong.

    A download sends HEAD, then GET. Both count, though `corrupt` and `truncate` show in GET only.
    """
    description: dict[str, Any] = {"path": path, "kind": kind, "times": times, "status": status}
    if retry_after is not None:
        description["retry_after"] = retry_after
    _call("POST", "faults", description)


def mend() -> None:
    """Forget all faults."""
    _call("DELETE", "faults")


def reset() -> None:
    """Forget all faults and recorded requests."""
    mend()
    _call("DELETE", "requests")


def requests() -> list[Asked]:
    """Requests since the last reset, oldest first."""
    return [Asked(**request) for request in _call("GET", "requests")]


def _call(method: str, page: str, value: object = None, timeout: float = TIMEOUT) -> Any:
    data = None if value is None else json.dumps(value).encode()
    request = urllib.request.Request(f"{topology.HUB}/_lab/{page}", data=data, method=method)  # noqa: S310
    with urllib.request.urlopen(request, timeout=timeout) as response:  # noqa: S310 - a constant http address
        return json.loads(response.read())
