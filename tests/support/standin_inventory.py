"""The lab with the stand-in engine on its hosts without accelerators: it starts in a second, where vLLM takes half a minute."""

import runpy

from lab import paths as _paths
from lab import topology as _topology

_lab = runpy.run_path("inventory/lab.py")
_standin = {
    "image": _topology.STANDIN_IMAGE,
    "engine_env": {"STANDIN_ACCELERATORS": "none"},
    "lock_file": str(_paths.home() / "standin.lock.yaml"),
}

engines, balancers, mirrors = (
    [(name, data | _standin) for name, data in _lab[group]] for group in ("engines", "balancers", "mirrors")
)
