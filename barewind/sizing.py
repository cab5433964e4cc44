"""What a spec leaves open, settled: context length, draft or not, memory share, batch sizes. Pure; the fit decides.

What a user sets is kept, whether it fits or not: then the plan says so. What is left open gets the largest context that
fits, and with it the draft head if that fits too: context first, for a request that is refused helps nobody.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from math import inf
from typing import Any

from barewind import catalog, images
from barewind.catalog import Limit
from barewind.fit import Fit, Load, judge
from barewind.spec import EngineSpec

_CONTEXTS = (262144, 131072, 65536, catalog.SMALLEST_CONTEXT)  # tokens; tried in this order
_UTILIZATION = 0.90  # share of the memory an engine may take; published set-ups are worked out with it
_UTILIZATION_WITH_DRAFT = 0.85  # one guide's value with EAGLE: drafting needs buffers that profiling does not see
_BATCHED_TOKENS = 16384  # per step; vendor's serve settings
_SEQUENCES = 128  # vendor's serve settings
_BYTES = {"auto": 2, "fp8": 1}  # of a KV cache element; auto is BF16
_DRAFT_TOKENS = 3

# Options of the engines that say what a key says too; a user may set either.
OPTIONS_OF_KEYS = {
    "gpu-memory-utilization": "gpu_memory_utilization",
    "device-memory-utilization": "gpu_memory_utilization",
    "mem-fraction-static": "gpu_memory_utilization",
    "max-num-seqs": "max_num_seqs",
    "max-running-requests": "max_num_seqs",
    "max-num-batched-tokens": "max_num_batched_tokens",
    "chunked-prefill-size": "max_num_batched_tokens",
}


@dataclass(frozen=True)
class Sizing:
    """The settled values. `utilization`, batch sizes and `fit` are None where there is no accelerator."""

    context_length: int
    draft: str | None
    draft_tokens: int
    utilization: float | None
    batched_tokens: int | None
    sequences: int | None
    extra: dict[str, Any]  # options that this set-up needs on this engine, by name
    fit: Fit | None


def size(spec: EngineSpec) -> Sizing:
    """Settle a host's spec."""
    return _size(spec.model_copy(update={"host": "", "groups": (), "address": "0.0.0.0"}).model_dump_json())  # noqa: S104


def version(spec: EngineSpec) -> str | None:
    """The engine's version as its image tag names it (v0.32.0-cu129 -> 0.32.0), or None: a nightly, newer than all."""
    found = re.match(r"v?(\d+\.\d+\.\d+)", images.parse(reference(spec)).tag or "")
    return found[1] if found else None


def reference(spec: EngineSpec) -> str:
    """The image a host asks for, by tag or digest, before the lock has its say."""
    if spec.image:
        return spec.image
    engine = catalog.engines()[spec.engine]
    vendor = catalog.accelerators()[spec.accelerator].vendor
    assert vendor != "none", "validation asks for an image where there is no vendor"  # noqa: S101
    return f"{engine.images[vendor]}:{engine.channels[vendor][spec.channel]}"


@lru_cache(maxsize=4096)
def _size(text: str) -> Sizing:
    """`text` is the spec as JSON, without what names the host: alike hosts are settled once."""
    spec = _with_engine_args(EngineSpec.model_validate_json(text, strict=False))
    model = catalog.models()[spec.model]
    if catalog.accelerators()[spec.accelerator].vendor == "none":
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
    candidates = [_sizing(spec, context, draft) for context in _contexts(spec) for draft in _drafts(spec)]
    fitting = [one for one in candidates if one.fit and one.fit.fits]
    return max(fitting, key=lambda one: one.context_length, default=candidates[-1])  # the first of equals: with a draft


def _with_engine_args(spec: EngineSpec) -> EngineSpec:
    """The spec as `engine_args` override it, where an option changes what memory holds: the fit must not miss that."""
    changes: dict[str, object] = {}
    for name, value in spec.engine_args.items():
        option = name.lstrip("-").replace("_", "-")
        if option == "kv-cache-dtype":
            changes["kv_cache_dtype"] = "fp8" if str(value).startswith("fp8") else "auto"
        elif option in OPTIONS_OF_KEYS:  # the values are those of the keys: conflicts.py has seen to it
            changes[OPTIONS_OF_KEYS[option]] = value
    return spec.model_copy(update=changes)


def _contexts(spec: EngineSpec) -> list[int]:
    most = catalog.models()[spec.model].context_length
    return [spec.context_length] if spec.context_length else [one for one in _CONTEXTS if one <= most] or [most]


def _drafts(spec: EngineSpec) -> list[str | None]:
    draft = _draft(spec)
    if spec.speculative == "auto":
        drafts = [draft, None] if draft and _drafts_at_all(spec) else [None]
        within = [one for one in drafts if spec.context_length is None or _cap(spec, one) >= spec.context_length]
        return within or [None]
    return [draft if spec.speculative is not False else None]


def _drafts_at_all(spec: EngineSpec) -> bool:
    """Whether the engine's version can draft; a nightly can."""
    found = version(spec)
    return found is None or numbers(found) >= numbers(catalog.engines()[spec.engine].draft_floor)


def numbers(found: str) -> tuple[int, ...]:
    """A version's parts, to compare by."""
    return tuple(int(part) for part in found.split("."))


def _limits(spec: EngineSpec, draft: str | None) -> list[Limit]:
    """The engine's limits that this set-up is under."""
    seen = {
        "architecture": catalog.accelerators()[spec.accelerator].architecture,
        "version": version(spec),
        "tensor_parallel_size": spec.tensor_parallel_size or spec.accelerator_count,
        "speculative": draft is not None,
    }
    limits = catalog.engines()[spec.engine].limits
    return [one for one in limits if all(seen[key] == value for key, value in one.when.items())]


def _cap(spec: EngineSpec, draft: str | None) -> float:
    """The longest context that the limits allow."""
    return min((one.cap["context_length"] for one in _limits(spec, draft) if one.cap), default=inf)


def _draft(spec: EngineSpec) -> str | None:
    return spec.draft or catalog.models()[spec.model].draft


def _draft_tokens(spec: EngineSpec) -> int:
    if isinstance(spec.speculative, int) and not isinstance(spec.speculative, bool):
        return spec.speculative
    return catalog.models()[spec.model].draft_tokens or _DRAFT_TOKENS


def _sizing(spec: EngineSpec, context: int, draft: str | None) -> Sizing:
    accelerator = catalog.accelerators()[spec.accelerator]
    tensor_parallel = spec.tensor_parallel_size or spec.accelerator_count
    extra: dict[str, Any] = {}
    for limit in _limits(spec, draft):
        extra |= limit.set
    if spec.context_length is None:
        context = int(min(context, _cap(spec, draft)))
    share = extra.pop("mem-fraction-static", _UTILIZATION_WITH_DRAFT if draft else _UTILIZATION)
    utilization = spec.gpu_memory_utilization or share
    batched = spec.max_num_batched_tokens or _BATCHED_TOKENS
    image = spec.modality == "image"
    load = Load(
        model=catalog.models()[spec.model],
        draft=catalog.models()[draft] if draft else None,
        vision=image or spec.engine != "vllm",  # SGLang has no way to leave the tower out
        vision_copies=image and spec.engine == "vllm",  # --mm-encoder-tp-mode data
        kv_bytes=_BYTES[spec.kv_cache_dtype],
        batched_tokens=batched,
        context_length=context,
        vision_optional=spec.engine == "vllm",
    )
    return Sizing(
        context_length=context,
        draft=draft,
        draft_tokens=_draft_tokens(spec),
        utilization=utilization,
        batched_tokens=batched,
        sequences=spec.max_num_seqs or _SEQUENCES,
        extra=extra,
        fit=judge(
            load,
            accelerator,
            count=spec.accelerator_count,
            tensor_parallel=tensor_parallel,
            utilization=utilization,
            utilization_without_draft=spec.gpu_memory_utilization or _UTILIZATION,
            explicit_parallel=spec.tensor_parallel_size is not None,
        ),
    )
