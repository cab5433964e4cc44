"""Settles what a spec leaves open, by what fits: context length, draft or not, share of the memory, batch sizes.

What a user sets is kept, whether it fits or not: then the plan says so. What is left open gets the largest context that
fits, and with it the draft head if that fits too: context first, for a request that is refused helps nobody.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from math import ceil, inf
from typing import Any

from barewind import catalog
from barewind.catalog import Limit, own
from barewind.catalog.option_classes import option_classes
from barewind.engines import ENGINES, options
from barewind.engines.advice import Defaults, SetUp, advice
from barewind.engines.command import spelled
from barewind.engines.counted import counted
from barewind.engines.fit import Fit, Load, judge
from barewind.engines.image import version
from barewind.engines.profile import EXPECTED, MOST_SEQUENCES, TOKENS, sequence_counts, step_tokens, worth_drafting
from barewind.engines.runner import runner, unknown
from barewind.engines.workload import Sizing
from barewind.spec.keys import EngineSpec
from barewind.speed.step import Runner
from barewind.versions import older

_CONTEXTS = (262144, 131072, 65536, catalog.SMALLEST_CONTEXT)  # tokens; tried in this order
_UTILIZATION = 0.90  # share of the memory an engine may take; published set-ups are worked out with it
SEQUENCES = 128  # vendor's serve settings; the fit of a context is worked out with them
MARGIN = 1.03  # of a default: cache for 3 % more than the context. Drivers, boards and versions differ by about 1 % of the memory
_BYTES = {"auto": 2, "fp8": 1}  # of a KV cache element; auto is BF16
_DRAFT_TOKENS = 3
_WIDE = ("auto", "bf16", "bfloat16", "float16", "False")  # of a KV cache, as engines spell two bytes

# Keys whose options a user may set too: the fit goes by either.
SIZED_KEYS = ("gpu_memory_utilization", "max_num_seqs", "max_num_batched_tokens")


def size(spec: EngineSpec) -> Sizing:
    """The values that a host's spec sets, and for those that it leaves open the ones that fit."""
    anonymous = {"host": "any", "groups": (), "address": "192.0.2.0", "replica": None, "engine_port": 1}
    text = spec.model_copy(update=anonymous).model_dump_json()
    return _size(text, own.state())


def key_of(option: str, engine: str) -> str | None:
    """The key of group data that an option stands for, on this engine or on another for whose option it was mistaken."""
    own = ENGINES[engine].keys.key(option)
    recorded = options.nearest(engine)
    if own is not None or (recorded is not None and option in recorded.by_name):
        return own
    return next((key for other in ENGINES.values() if (key := other.keys.key(option))), None)


@lru_cache(maxsize=4096)
def _size(text: str, _: str) -> Sizing:
    """`text` is the spec as JSON, without what names the host: hosts that are alike are settled once, as the catalog stands."""
    spec = with_engine_args(EngineSpec.model_validate_json(text, strict=False))
    model = catalog.models()[spec.model]
    if catalog.accelerators()[spec.accelerator].is_cpu:
        draft = _draft(spec) if spec.speculative is not False else None
        return Sizing(
            context_length=spec.context_length or model.context_length,
            draft=draft,
            draft_tokens=_draft_tokens(spec),
            utilization=None,
            batched_tokens=spec.max_num_batched_tokens,
            sequences=spec.max_num_seqs,
            extra={},
            fit=None,
        )
    settled, setup = _settled(spec)
    if settled.fit is None or settled.fit.fits:
        return _with_sequences(spec, settled)
    return replace(settled, fit=replace(settled.fit, advice=advice(setup, _defaults(spec))))


def _settled(spec: EngineSpec) -> tuple[Sizing, SetUp]:
    """Context and draft: context first, then the draft if the load is one that it pays for and the context is no shorter."""
    draft = _draft(spec)
    if spec.speculative != "auto":
        return _longest(spec, draft if spec.speculative is not False else None)
    plain = _longest(spec, None)
    if draft is None or not plain[0].fit or not plain[0].fit.fits:
        return plain
    worth, why = _worth_drafting(spec, draft, plain[0].fit)
    if worth:
        drafting, setup = _longest(spec, draft)
        fits = drafting.fit is not None and drafting.fit.fits and _comfortable(spec, drafting)
        if fits and plain[0].context_length <= drafting.context_length <= _cap(spec, draft):
            return replace(drafting, reasons=drafting.reasons | {"speculative": why}), setup
        why = "a draft does not fit beside the context"
    return replace(plain[0], reasons=plain[0].reasons | {"speculative": why}), plain[1]


def _longest(spec: EngineSpec, draft: str | None) -> tuple[Sizing, SetUp]:
    """The longest context that fits with a draft, or without; what a user sets needs no margin, nor does the least of all."""
    settled = [_sizing(spec, context, draft) for context in _contexts(spec)]
    fitting = [candidate for candidate in settled if candidate[0].fit and candidate[0].fit.fits]
    comfortable = [candidate for candidate in fitting if _comfortable(spec, candidate[0])]
    return max(comfortable, key=lambda candidate: candidate[0].context_length, default=(fitting or settled)[-1])


def _worth_drafting(spec: EngineSpec, draft: str, fit: Fit) -> tuple[bool, str]:
    """Whether a draft that nobody has asked for is worth it, and why."""
    release, entry = version(spec), catalog.engines()[spec.engine]
    vendor = catalog.accelerators()[spec.accelerator].vendor
    if vendor not in entry.drafts_on:
        return False, f"nobody has published a run with a draft on {vendor}"
    if release is not None and older(release, entry.draft_floor):
        return False, f"{spec.engine} drafts from {entry.draft_floor} on"
    engines = spec.replicas * fit.data_parallel
    in_flight = ceil((spec.expected_concurrency or EXPECTED) / engines)
    at_a_time = max(1, min(in_flight, fit.kv_token_capacity // (2 * TOKENS)))
    return worth_drafting(_law(spec, None), _law(spec, draft), at_a_time)


def _law(spec: EngineSpec, draft: str | None) -> Runner | None:
    """An engine of the host as the law of a step has it; None where nothing is known of it."""
    if unknown(spec, draft, _draft_tokens(spec)):
        return None
    return runner(spec.model, spec.accelerator, spec.tensor_parallel, _kv_bytes(spec), drafting=draft is not None)


def _with_sequences(spec: EngineSpec, settled: Sizing) -> Sizing:
    """As many sequences at a time as the cache holds: more than usual take memory themselves, which must not cost the context."""
    if spec.max_num_seqs is not None or settled.fit is None or settled.batched_tokens is None:
        return settled
    rows = 1 + (settled.draft_tokens if settled.draft else 0)
    limits = {"batched_tokens": settled.batched_tokens, "rows": rows}
    reason = f"as many requests of {2 * TOKENS} tokens as its cache holds, {MOST_SEQUENCES} at most"
    for count in sequence_counts(settled.fit.kv_token_capacity, settled.context_length, **limits):
        more, _ = _sizing(spec, settled.context_length, settled.draft, count)
        assert more.fit is not None  # noqa: S101 - there are accelerators
        holds = next(sequence_counts(more.fit.kv_token_capacity, settled.context_length, **limits)) >= count
        if count <= SEQUENCES or (more.fit.fits and holds and _comfortable(spec, more)):
            return replace(more, reasons=settled.reasons | {"max_num_seqs": reason})
    return settled


def _comfortable(spec: EngineSpec, sizing: Sizing) -> bool:
    """Whether what is left open leaves more cache than it needs: figures of hosts and engines differ by that much."""
    assert sizing.fit is not None  # noqa: S101 - there are accelerators
    open_choice = spec.context_length is None or (sizing.draft is not None and spec.speculative == "auto")
    return not open_choice or sizing.fit.kv_token_capacity >= sizing.context_length * MARGIN


def _defaults(spec: EngineSpec) -> Defaults:
    """What the spec sets to less than the default."""
    usual, _ = step_tokens(_law(spec, None), images=spec.modality == "image")
    meanings = option_classes(spec.engine).counted
    capping = [name for name in spec.engine_args if meanings.get(spelled(name), "").startswith("kv_")]
    return Defaults(
        utilization=_UTILIZATION if (spec.gpu_memory_utilization or _UTILIZATION) < _UTILIZATION else None,
        utilization_without_draft=None if spec.gpu_memory_utilization else _UTILIZATION,
        batched_tokens=usual if (spec.max_num_batched_tokens or 0) > usual else None,
        sequences=SEQUENCES if (spec.max_num_seqs or 0) > SEQUENCES else None,
        explicit_parallel=spec.tensor_parallel_size is not None,
        capped_by=tuple(capping),
    )


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


def _contexts(spec: EngineSpec) -> list[int]:
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


def _cap(spec: EngineSpec, draft: str | None) -> float:
    """The longest context that the limits allow."""
    return min((limit.cap["context_length"] for limit in _limits(spec, draft) if limit.cap), default=inf)


def _kv_bytes(spec: EngineSpec) -> int:
    """Bytes of a KV cache element: as a key or an option says, else as the model's weights are made for."""
    named = any(ENGINES[spec.engine].keys.key(spelled(name)) == "kv_cache_dtype" for name in spec.engine_args)
    if spec.kv_cache_dtype == "auto" and not named:
        return _BYTES[catalog.models()[spec.model].kv_cache_dtype]
    return _BYTES[spec.kv_cache_dtype]


def _draft(spec: EngineSpec) -> str | None:
    return spec.draft or catalog.models()[spec.model].draft


def _draft_tokens(spec: EngineSpec) -> int:
    if isinstance(spec.speculative, int) and not isinstance(spec.speculative, bool):
        return spec.speculative
    return catalog.models()[spec.model].draft_tokens or _DRAFT_TOKENS


def _sizing(spec: EngineSpec, context: int, draft: str | None, sequences: int = SEQUENCES) -> tuple[Sizing, SetUp]:
    sequences = spec.max_num_seqs or sequences
    accelerator = catalog.accelerators()[spec.accelerator]
    tensor_parallel = spec.tensor_parallel
    extra: dict[str, Any] = {}
    for limit in _limits(spec, draft):
        extra |= limit.set
    if spec.context_length is None:
        context = int(min(context, _cap(spec, draft)))
    engine = ENGINES[spec.engine]
    share_option = (engine.keys.name("gpu_memory_utilization") or "").removeprefix("--")
    share = extra.pop(share_option, _UTILIZATION)
    utilization = spec.gpu_memory_utilization or share
    batched, reason = step_tokens(_law(spec, None), images=spec.modality == "image")
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
        draft_tokens=_draft_tokens(spec) if draft else 0,
        options=asked,
        adapters=(asked.adapters or engine.memory.adapters) if asked.adapters_on else 0,
    )
    sizing = Sizing(
        context_length=context,
        draft=draft,
        draft_tokens=_draft_tokens(spec),
        utilization=utilization,
        batched_tokens=batched,
        sequences=sequences,
        extra=extra,
        reasons={"max_num_batched_tokens": reason},
        fit=judge(load, accelerator, tensor_parallel=tensor_parallel, utilization=utilization),
    )
    contexts = () if spec.context_length else tuple(_contexts(spec))
    setup = SetUp(load, accelerator, spec.accelerators_each, tensor_parallel, utilization, contexts, MARGIN)
    return sizing, replace(setup, replicas=spec.replicas, chosen=spec.accelerators is not None)
