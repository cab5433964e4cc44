"""Why an engine does not serve, as messages tell it: causes that engines log in words of their own.

`barewind/engines/log.py` has those that read the same whatever the engine is, and the order in which causes count.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Cause:
    """Why, and what to do. `{0}`, `{1}`... in `why` are the groups of the pattern that matched, "" where there are fewer."""

    why: str
    remedy: str


DRIVER_REMEDY = "look at `nvidia-smi` or `amd-smi` on the host, then deploy again: it looks at drivers first"

# What a container without root's rights meets where an image, a driver or a host wants them.
RIGHTS_REMEDY = "set container_hardening = False, which gives the container the rights of before (docs/security.md)"

CONTEXT_TOO_LONG = Cause("the model cannot take {0} tokens of context", "lower context_length")
INDIVISIBLE = Cause(
    "the model cannot be divided as tensor_parallel_size says ({0} by {1}: heads, of its vision tower too)",
    "lower tensor_parallel_size",
)
TOO_FEW_ACCELERATORS = Cause("the engine sees fewer accelerators than tensor_parallel_size", DRIVER_REMEDY)
KV_CACHE_TOO_SMALL = Cause(
    "out of memory: the KV cache does not fit beside the weights",
    "lower context_length or max_num_seqs, or use more accelerators",
)
NO_ACCELERATOR = Cause(
    "the engine sees no accelerator: the driver does not work, or the host has none and the image is no CPU build",
    f"{DRIVER_REMEDY}; on a host without accelerators name a CPU build (key 'image')",
)
MEMORY_TAKEN = Cause(
    "out of memory: something else holds the accelerator's memory",
    "look with `nvidia-smi` or `amd-smi` for whose processes those are, and end them",
)
PORT_TAKEN = Cause(
    "the port is taken by another process",
    "end it (ss -ltnp tells which it is), or choose another engine_port",
)
HUNG = Cause(
    "the engine's processes do not answer each other any more",
    "look at the kernel log for a failing accelerator (journalctl -k); restart the unit; if it comes again, name another image",
)
CRASHED = Cause("the engine crashed", "look further up in its log")
