"""The compile cache: which hosts may share what their engines compile at their start, and where each keeps it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

KEY_LENGTH = 12  # hex digits
PACKED = "packed-"  # before a key


def key(digest: str, accelerator: str, argv: Sequence[str], env: Mapping[str, str]) -> str:
    """The key of a compile cache: the same for hosts with the same image, accelerator, arguments and environment."""
    parts = {"digest": digest, "accelerator": accelerator, "argv": list(argv), "env": dict(env)}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:KEY_LENGTH]


def packed_directory(data_dir: str, key: str) -> str:
    """The directory of a host that holds, as one file, what other hosts may have of the compile cache of a key."""
    return f"{data_dir}/cache/{PACKED}{key}"


def directory(data_dir: str, key: str) -> str:
    """The directory of a host that holds the compile cache of a key."""
    return f"{data_dir}/cache/{key}"
