"""Who we are to a registry: what its challenge asks for, with what `docker login` left on this machine, if anything."""

from __future__ import annotations

import base64
import json
import os
import re
from pathlib import Path

import requests

from barewind import images

_TIMEOUT = 30  # seconds
_HUB_KEY = "https://index.docker.io/v1/"  # Docker's own name for its hub in config.json


def authorization(session: requests.Session, registry: str, challenge: str) -> str | None:
    """The Authorization header that a challenge asks for, or None if we have nothing to offer.

    Without credentials the token is an anonymous one, which public images are pulled with.

    Raises:
        requests.RequestException: the token server does not answer, or refuses.
    """
    kind, _, rest = challenge.partition(" ")
    login = credentials(registry)
    if kind.lower() == "basic":
        return None if login is None else "Basic " + base64.b64encode(":".join(login).encode()).decode()
    fields = dict(re.findall(r'(\w+)="([^"]*)"', rest))
    realm = fields.pop("realm", None)
    if kind.lower() != "bearer" or realm is None:
        return None
    answer = session.get(realm, params=fields, auth=login or _Nobody(), timeout=_TIMEOUT)
    answer.raise_for_status()
    document = answer.json()
    return f"Bearer {document.get('token') or document.get('access_token') or ''}"


def credentials(registry: str) -> tuple[str, str] | None:
    """User and password that `docker login` wrote into its config.json; credential helpers are not asked."""
    folder = os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker"
    try:
        known = json.loads((Path(folder) / "config.json").read_text())["auths"]
        names = (_HUB_KEY,) if registry == images.DOCKER_HUB else (registry, f"https://{registry}")
        found = next(known[name]["auth"] for name in names if name in known)
        user, colon, password = base64.b64decode(found).decode().partition(":")
    except (OSError, ValueError, KeyError, TypeError, StopIteration):
        return None
    return (user, password) if colon else None


class _Nobody(requests.auth.AuthBase):
    """Keeps requests from adding what a .netrc says."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request
