"""Options of `engine_args` that change what memory holds without being a key: what they say, in figures that the fit works with.

Which option says what stands in barewind/catalog/options/ENGINE.yaml (`counted`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from barewind.catalog.option_classes import Meaning, option_classes
from barewind.engines import options
from barewind.engines.command import Value, spelled

# Suffixes of sizes as the engines read them (human_readable_int): small letters are decimal; capitals, or an i behind, binary.
_POWERS = {"k": 1, "m": 2, "g": 3, "t": 4}
_RANK = 16  # of an adapter, unless an option says it: the engines' default, and what most adapters have


@dataclass(frozen=True)
class Counted:
    """What the options say; None or the default where none says it.

    + kv_bytes: of KV cache on each accelerator, whatever the share of the memory is
    + kv_blocks, kv_tokens: of KV cache at most
    + block: tokens of a block
    + offloaded_gib: of the weights of each accelerator, kept in the host's memory instead
    + no_graphs: no step is captured
    + largest_graph: sequences of the largest step that is captured
    + vision_copies: every accelerator holds the whole vision tower
    + adapters_on, adapters, adapter_rank: adapters (LoRA) in memory at a time, and their rank
    + data_parallel: engines side by side in one process group, each with its own weights and cache
    """

    kv_bytes: int | None = None
    kv_blocks: int | None = None
    kv_tokens: int | None = None
    block: int | None = None
    offloaded_gib: float = 0
    no_graphs: bool = False
    largest_graph: int | None = None
    vision_copies: bool = False
    adapters_on: bool = False
    adapters: int | None = None
    adapter_rank: int = _RANK
    data_parallel: int = 1


NOTHING = Counted()


def counted(engine: str, engine_args: Mapping[str, Value]) -> Counted:
    """What a host's own options say. A value that is none of the option's is passed over: the engine's parser refuses it."""
    meanings = option_classes(engine).counted
    found = NOTHING
    if not engine_args or not meanings:
        return found
    schema = options.nearest(engine)
    known = {} if schema is None else schema.by_name
    for name, written in engine_args.items():
        option, _, key = spelled(name).partition(".")
        value = {key.replace("-", "_"): written} if key else written
        flag = known.get(option)
        meaning = meanings.get(option if flag is None else flag.names[0])
        if meaning is None or value is False:
            continue
        if flag is not None and option in flag.negated:
            continue
        found = _with(found, meaning, value)
    return found


def _with(found: Counted, meaning: Meaning, value: Value) -> Counted:
    if meaning == "no_graphs":
        return replace(found, no_graphs=True)
    if meaning in ("adapters_on", "vision_copies"):
        return replace(found, **{meaning: True})
    if meaning == "compilation":
        return _compiled(found, value)
    if isinstance(value, list):  # the largest of several
        numbers = [number for item in value if (number := _number(item)) is not None]
        number = max(numbers, default=None)
    else:
        number = _number(value)
    if number is None:
        return found
    changes: dict[str, Any] = {meaning: number if meaning == "offloaded_gib" else int(number)}
    return replace(found, **changes)


def _compiled(found: Counted, value: Value) -> Counted:
    """What a configuration of the engine's compilation says of captured steps."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return found
    if not isinstance(value, dict):
        return found
    if str(value.get("cudagraph_mode", "")).upper() == "NONE":
        return replace(found, no_graphs=True)
    for name in ("max_cudagraph_capture_size", "cudagraph_capture_sizes"):
        if value.get(name):
            return _with(found, "largest_graph", value[name])
    return found


def _number(value: object) -> float | None:
    """A number, or a size with a suffix ("5G", "64k"); None for what is neither."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)([kKmMgGtT]?)(i?)\s*", str(value))
    if match is None or isinstance(value, bool) or (match[3] and not match[2]):
        return None
    thousand = 1024 if match[3] or match[2].isupper() else 1000
    return float(match[1]) * float(thousand ** _POWERS.get(match[2].lower(), 0))
