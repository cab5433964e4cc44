"""Where the lab keeps its files: `cache/` survives `down`, `state/` does not."""

import os
from pathlib import Path


def home() -> Path:
    """The lab's folder, `${XDG_CACHE_HOME:-~/.cache}/barewind/lab`."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "barewind" / "lab"


def cache() -> Path:
    """Folder of what is slow to build: base image, registry storage, models."""
    return home() / "cache"


def state() -> Path:
    """Folder of what belongs to the running lab: keys, known_hosts, lab.json, process ids."""
    return home() / "state"
