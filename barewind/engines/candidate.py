"""A way to serve a host's model: the values with one context, with a draft or without, and so many sequences; and what fits.

Which of them is taken is decided in sizing.py.
"""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import Any

from barewind import catalog
from barewind.catalog import Limit
from barewind.engines import ENGINES, options
from barewind.engines.advice import SetUp
from barewind.engines.command import spelled
from barewind.engines.counted import counted
from barewind.engines.fit import Load, judge
from barewind.engines.image import version
from barewind.engines.profile import Profile, step_tokens
from barewind.engines.runner import runner, unknown
from barewind.engines.workload import Sizing
from barewind.spec.keys import EngineSpec
from barewind.speed.step import Runner

_CONTEXTS = (262144, 131072, 65536, catalog.SMALLEST_CONTEXT)  # tokens; tried in this order
UTILIZATION = 0.90  # share of the memory an engine may take; published set-ups are worked out with it
SEQUENCES = 128  # vendor's serve settings; the fit of a context is worked out with them
MARGIN = 1.03  # of a default: cache for 3 % more than the context. Drivers, boards and versions differ by about 1 % of the memory
_BYTES = {"auto": 2, "fp8": 1}  # of a KV cache element; auto is BF16
_DRAFT_TOKENS = 3
_WIDE = ("auto", "bf16", "bfloat16", "float16", "False")  # of a KV cache, as engines spell two bytes

# Keys whose options a user may set too: the fit goes by either.
SIZED_KEYS = ("gpu_memory_utilization", "max_num_seqs", "max_num_batched_tokens")


def key_of(option: str, engine: str) -> str | None:
    """The key of group data that an option stands for, on this engine or on another for whose option it was mistaken."""
    own = ENGINES[engine].keys.key(option)
    recorded = options.nearest(engine)
    if own is not None or (recorded is not None and option in recorded.by_name):
        return own
    return next((key for other in ENGINES.values() if (key := other.keys.key(option))), None)


def candidate(spec: EngineSpec, context: int, draft: str | None, sequences: int = SEQUENCES) -> tuple[Sizing, SetUp]:
    """The values with one context, a draft or none, and so many sequences, where no key says how many; and whether that fits."""
    sequences = spec.max_num_seqs or sequences
    accelerator = catalog.accelerators()[spec.accelerator]
    tensor_parallel = spec.tensor_parallel
    extra: dict[str, Any] = {}
    for limit in _limits(spec, draft):
        extra |= limit.set
    if spec.context_length is None:
        context = int(min(context, cap(spec, draft)))
    engine = ENGINES[spec.engine]
    share_option = (engine.keys.name("gpu_memory_utilization") or "").removeprefix("--")
    share = extra.pop(share_option, UTILIZATION)
    utilization = spec.gpu_memory_utilization or share
    batched, reason = step_tokens(law(spec, None), profile_of(spec), images=spec.modality == "image")
    batched = spec.max_num_batched_tokens or max(batched, spec.max_num_seqs or 0)  # a token for each sequence
    asked = counted(spec.engine, spec.engine_args)
    image = spec.modality == "image"
    load = Load(
        model=catalog.models()[spec.model],
        draft=catalog.models()[draft] if draft else None,
        vision=image or not engine.memory.vision_optional,
        vision_copies=(image and engine.memory.vision_copies) or asked.vision_copies,
        kv_bytes=_kv_bytes(spec),
        batched_tokens=batched,
        context_length=context,
        vision_optional=engine.memory.vision_optional,
        sequences=sequences,
        draft_tokens=draft_tokens(spec) if draft else 0,
        options=asked,
        adapters=(asked.adapters or engine.memory.adapters) if asked.adapters_on else 0,
    )
    sizing = Sizing(
        context_length=context,
        draft=draft,
        draft_tokens=draft_tokens(spec),
        utilization=utilization,
        batched_tokens=batched,
        sequences=sequences,
        extra=extra,
        reasons={} if spec.max_num_batched_tokens else {"max_num_batched_tokens": reason},
        fit=judge(load, accelerator, tensor_parallel=tensor_parallel, utilization=utilization),
    )
    defaults = () if spec.context_length else tuple(contexts(spec))
    setup = SetUp(load, accelerator, spec.accelerators_each, tensor_parallel, utilization, defaults, MARGIN)
    return sizing, replace(setup, replicas=spec.replicas, chosen=spec.accelerators is not None)


def comfortable(spec: EngineSpec, sizing: Sizing) -> bool:
    """Whether what is left open leaves more cache than it needs: figures of hosts and engines differ by that much."""
    assert sizing.fit is not None  # noqa: S101 - there are accelerators
    open_choice = spec.context_length is None or (sizing.draft is not None and spec.speculative == "auto")
    return not open_choice or sizing.fit.kv_token_capacity >= sizing.context_length * MARGIN


def profile_of(spec: EngineSpec) -> Profile:
    """The profile that values are worked out by: where nobody has published a command, the usual one."""
    return "balanced" if spec.profile == "recipe" else spec.profile


def law(spec: EngineSpec, draft: str | None) -> Runner | None:
    """An engine of the host as the law of a step has it; None where nothing is known of it."""
    if unknown(spec, draft, draft_tokens(spec)):
        return None
    return runner(spec.model, spec.accelerator, spec.tensor_parallel, _kv_bytes(spec), drafting=draft is not None)


def with_engine_args(spec: EngineSpec) -> EngineSpec:
    """The spec as `engine_args` override it, where an option changes what memory holds: the fit must not miss that."""
    changes: dict[str, object] = {}
    for name, value in spec.engine_args.items():
        key = ENGINES[spec.engine].keys.key(spelled(name))
        if key == "kv_cache_dtype":  # what is smaller than a byte is counted as one: its scales come on top
            changes[key] = "auto" if str(value) in _WIDE else "fp8"
        elif (
            key is not None and key in SIZED_KEYS
        ):  # the values are those of the key: site/conflicts.py makes sure of that
            changes[key] = value
    return spec.model_copy(update=changes)


def contexts(spec: EngineSpec) -> list[int]:
    """The contexts to try, the longest first; the one that is set."""
    most = catalog.models()[spec.model].context_length
    if spec.context_length:
        return [spec.context_length]
    return [length for length in _CONTEXTS if length <= most] or [most]


def _limits(spec: EngineSpec, draft: str | None) -> list[Limit]:
    """The limits of the catalog that hold for this set-up."""
    setup = {
        "architecture": catalog.accelerators()[spec.accelerator].architecture,
        "version": version(spec),
        "tensor_parallel_size": spec.tensor_parallel,
        "speculative": draft is not None,
    }
    limits = catalog.engines()[spec.engine].limits
    return [limit for limit in limits if all(setup[key] == value for key, value in limit.when.items())]


def cap(spec: EngineSpec, draft: str | None) -> float:
    """The longest context that the limits allow."""
    return min((limit.cap["context_length"] for limit in _limits(spec, draft) if limit.cap), default=inf)


def _kv_bytes(spec: EngineSpec) -> int:
    """Bytes of a KV cache element: as a key or an option says, else as the model's weights are made for."""
    named = any(ENGINES[spec.engine].keys.key(spelled(name)) == "kv_cache_dtype" for name in spec.engine_args)
    if spec.kv_cache_dtype == "auto" and not named:
        return _BYTES[catalog.models()[spec.model].kv_cache_dtype]
    return _BYTES[spec.kv_cache_dtype]


def draft_of(spec: EngineSpec) -> str | None:
    """The draft that goes with the model; None where there is none."""
    return spec.draft or catalog.models()[spec.model].draft


def draft_tokens(spec: EngineSpec) -> int:
    """Tokens that it drafts each step."""
    if isinstance(spec.speculative, int) and not isinstance(spec.speculative, bool):
        return spec.speculative
    return catalog.models()[spec.model].draft_tokens or _DRAFT_TOKENS
