"""A release: what a host serves, as one short id over everything that changes its behaviour."""

from __future__ import annotations

import hashlib
import json
from typing import Any

_LENGTH = 12  # hex digits: 48 bits, ample for the releases one fleet will ever see


def identify(
    *, digest: str, model: str, draft: str | None, argv: list[str], env: dict[str, str], container: list[str]
) -> str:
    """The id of image digest, weights (`model` and `draft` as repository@revision), arguments and environment."""
    parts: dict[str, Any] = {
        "digest": digest,
        "model": model,
        "draft": draft,
        "argv": argv,
        "env": env,
        "container": container,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:_LENGTH]
