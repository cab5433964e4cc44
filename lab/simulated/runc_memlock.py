"""Lowers the limit of locked memory in a container's description to what this process may give, then runs runc."""

from __future__ import annotations

import json
import os
import resource
import sys
from pathlib import Path
from typing import Any


def main(argv: list[str]) -> int:
    """Edit the description that the arguments name, then become runc."""
    for path in descriptions(argv):
        try:
            description = json.loads(path.read_text())
        except (OSError, ValueError):
            continue  # runc reports what is wrong with it
        if lower(description, resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]):
            path.write_text(json.dumps(description))
    for folder in ("/usr/sbin", "/usr/bin"):
        if os.access(f"{folder}/runc", os.X_OK):
            os.execv(f"{folder}/runc", ["runc", *argv[1:]])  # noqa: S606 - this process becomes it
    print("runc: not installed", file=sys.stderr)
    return 127


def descriptions(argv: list[str]) -> list[Path]:
    """Files with descriptions: config.json in the bundle of `create` and `run`, the process file of `exec`."""
    paths = []
    for number, word in enumerate(argv):
        name, _, value = word.partition("=")
        value = value or (argv[number + 1] if number + 1 < len(argv) else "")
        if name in ("--bundle", "-b"):
            paths.append(Path(value) / "config.json")
        elif name in ("--process", "-p"):
            paths.append(Path(value))
    return paths


def lower(description: dict[str, Any], most: int) -> bool:
    """Lower RLIMIT_MEMLOCK to at most `most` bytes; whether that changed the description."""
    changed = False
    for limit in description.get("process", description).get("rlimits") or []:
        if limit["type"] == "RLIMIT_MEMLOCK" and most != resource.RLIM_INFINITY:
            for kind in ("soft", "hard"):
                if limit[kind] > most:
                    limit[kind] = most
                    changed = True
    return changed
