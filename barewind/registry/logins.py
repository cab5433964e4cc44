"""Logins of registries: those that group data names, and what `docker login` left on this machine.

Without the HTTP library, which is slow to import and which a run rarely needs.
"""

from __future__ import annotations

import base64
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from barewind.registry.reference import DOCKER_HUB, canonical

LOGINS_KEY = "registry_logins"
_HUB_KEY = "https://index.docker.io/v1/"  # Docker's own name for its hub in config.json


@dataclass(frozen=True)
class Login:
    """A user with a password, or with the token that `docker login` was given in its place (Azure), "" for none."""

    user: str
    password: str
    identity_token: str = ""


def docker_config(registry: str, login: tuple[str, str]) -> str:
    """A config.json with which the docker command pulls from a registry."""
    name = _HUB_KEY if registry == DOCKER_HUB else registry
    return json.dumps({"auths": {name: {"auth": encoded(*login)}}}) + "\n"


def credentials(registry: str) -> Login | None:
    """What `docker login` wrote into its config.json for a registry; credential helpers are not asked."""
    auths = _config().get("auths")
    for name, entry in auths.items() if isinstance(auths, dict) else ():
        if _registry_of(str(name)) == registry and isinstance(entry, dict) and (login := _login(entry)):
            return login
    return None


def helper(registry: str) -> str:
    """The credential helper that docker would ask for a registry's login, "" without one."""
    document = _config()
    helpers, store = document.get("credHelpers"), document.get("credsStore")
    for name, program in helpers.items() if isinstance(helpers, dict) else ():
        if _registry_of(str(name)) == registry:
            return f"docker-credential-{program}"
    return f"docker-credential-{store}" if isinstance(store, str) and store else ""


def encoded(user: str, password: str) -> str:
    """A login as HTTP's Basic scheme and config.json have it."""
    return base64.b64encode(f"{user}:{password}".encode()).decode()


def _config() -> dict[str, Any]:
    folder = os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker"
    try:
        document = json.loads((Path(folder) / "config.json").read_text())
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def _registry_of(name: str) -> str:
    """The registry that a name in config.json means: old ones are URLs with a path."""
    return canonical(name.removeprefix("https://").removeprefix("http://").partition("/")[0])


def _login(entry: dict[str, Any]) -> Login | None:
    user, password = str(entry.get("username") or ""), str(entry.get("password") or "")
    if entry.get("auth"):
        try:
            user, _, password = base64.b64decode(str(entry["auth"])).decode().rstrip("\0").partition(":")
        except ValueError:
            return None
    login = Login(user, password, str(entry.get("identitytoken") or ""))
    return login if login.password or login.identity_token else None
