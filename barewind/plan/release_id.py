"""The id of a release: a short hash over everything that changes what a host serves."""

from __future__ import annotations

import hashlib
import json
from typing import Any

_LENGTH = 12  # hex digits: 48 bits, ample for the releases one fleet will ever see


def release_id(
    *,
    digest: str,
    model: str,
    draft: str | None,
    argv: list[str],
    env: dict[str, str],
    container: list[str],
    secrets: dict[str, str] | None = None,
) -> str:
    """The id of a release by its parts.

    + model, draft: repository@revision
    + container: the options of `docker run`
    + secrets: what tells whether a secret is another one, by name; a rotated secret is a release of its own
    """
    parts: dict[str, Any] = {
        "digest": digest,
        "model": model,
        "draft": draft,
        "argv": argv,
        "env": env,
        "container": container,
    }
    if secrets:  # releases without any have the id they always had
        parts["secrets"] = secrets
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:_LENGTH]
