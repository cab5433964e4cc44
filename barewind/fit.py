"""Does it fit: weights, draft, KV cache and overhead against the memory the accelerators report.

All sizes are MiB per accelerator unless a name says otherwise. Tensor parallelism divides weights and KV cache evenly;
what every accelerator holds for itself is the overhead.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil

from barewind import catalog
from barewind.catalog import Accelerator, Model

MIB = 2**20
BLOCK = 16  # tokens: engines hand KV cache out in blocks of this size

# What an accelerator holds besides weights and KV cache, whatever is served: CUDA or HIP context (0.5 GiB), NCCL or RCCL
# buffers (0.5 GiB), captured graphs (up to 2 GiB for 128 sequences), fragmentation (0.5 GiB). Inferred; the published
# set-ups (one H200 refused, one MI300X at 131072, two H100 at 32768) hold with it.
FIXED_OVERHEAD_MIB = 3584

_BYTES_PER_ACTIVATION = 2  # BF16
_HIDDEN_BUFFERS = 4  # residual, attention in and out, normalised input: alive at the same time in a layer


@dataclass(frozen=True)
class Load:
    """What a host is to hold. `kv_bytes` is 2 for BF16 and 1 for FP8; lengths in tokens."""

    model: Model
    draft: Model | None
    vision: bool
    vision_copies: bool  # every accelerator holds the whole vision tower instead of a share
    kv_bytes: int
    batched_tokens: int
    context_length: int
    vision_optional: bool = True  # text-only service leaves the tower out


@dataclass(frozen=True)
class Fit:
    """The answer. `kv_bytes_per_token` is over all accelerators, for the target model; `weights_mib` per accelerator."""

    fits: bool
    weights_mib: int
    kv_bytes_per_token: int
    kv_token_capacity: int
    context_length: int
    max_context_length: int
    concurrent_sequences: int
    advice: tuple[str, ...]


def kv_bytes_per_token(model: Model, kv_bytes: int) -> int:
    """Bytes of KV cache one token takes over all accelerators: keys and values of every layer's KV heads."""
    shape = model.shape
    return 2 * shape.layers * shape.kv_heads * shape.head_dim * kv_bytes


def weights_mib(model: Model, *, vision: bool, tensor_parallel: int, vision_copies: bool = False) -> int:
    """MiB of weights on each accelerator, rounded up."""
    tower = model.weights.vision if vision else 0
    body = model.weights.total - model.weights.vision
    share = body / tensor_parallel + (tower if vision_copies else tower / tensor_parallel)
    return ceil(share / MIB)


def overhead_mib(model: Model, *, batched_tokens: int, tensor_parallel: int) -> int:
    """MiB each accelerator needs besides weights and KV cache: the fixed part and the activations of one step.

    Activations are those of the widest layer: the MLP's gate and up projections, divided by tensor parallelism, and the
    hidden states, which every accelerator holds whole.
    """
    shape = model.shape
    per_token = 2 * shape.intermediate / tensor_parallel + _HIDDEN_BUFFERS * shape.hidden
    return FIXED_OVERHEAD_MIB + int(batched_tokens * per_token * _BYTES_PER_ACTIVATION) // MIB


def capacity(load: Load, accelerator: Accelerator, *, tensor_parallel: int, utilization: float) -> int:
    """Tokens of KV cache that fit, over all accelerators; 0 when not even the weights do."""
    used = _model_mib(load, tensor_parallel)
    used += overhead_mib(load.model, batched_tokens=load.batched_tokens, tensor_parallel=tensor_parallel)
    per_token = kv_bytes_per_token(load.model, load.kv_bytes)
    if load.draft is not None:
        used += weights_mib(load.draft, vision=False, tensor_parallel=tensor_parallel)
        per_token += kv_bytes_per_token(load.draft, load.kv_bytes)
    # Beyond the number of KV heads they are copied: more accelerators then hold no more tokens.
    share = min(tensor_parallel, load.model.shape.kv_heads)
    free = int(accelerator.memory_mib * utilization) - used
    tokens = free * MIB * share // per_token
    return max(0, tokens // BLOCK * BLOCK)


def judge(
    load: Load,
    accelerator: Accelerator,
    *,
    count: int,
    tensor_parallel: int,
    utilization: float,
    utilization_without_draft: float | None = None,
    explicit_parallel: bool = False,
) -> Fit:
    """Whether one sequence of the asked context fits, how many do, and what to change when none does."""
    tokens = capacity(load, accelerator, tensor_parallel=tensor_parallel, utilization=utilization)
    fits = tokens >= load.context_length
    return Fit(
        fits=fits,
        weights_mib=_model_mib(load, tensor_parallel),
        kv_bytes_per_token=kv_bytes_per_token(load.model, load.kv_bytes),
        kv_token_capacity=tokens,
        context_length=load.context_length,
        max_context_length=min(tokens, load.model.context_length),
        concurrent_sequences=tokens // load.context_length,
        advice=()
        if fits
        else _advice(
            load,
            accelerator,
            count,
            tensor_parallel,
            utilization,
            utilization_without_draft or utilization,
            explicit_parallel=explicit_parallel,
        ),
    )


def _model_mib(load: Load, tensor_parallel: int) -> int:
    return weights_mib(
        load.model, vision=load.vision, tensor_parallel=tensor_parallel, vision_copies=load.vision_copies
    )


def _advice(
    load: Load,
    accelerator: Accelerator,
    count: int,
    tensor_parallel: int,
    utilization: float,
    utilization_without_draft: float,
    *,
    explicit_parallel: bool,
) -> tuple[str, ...]:
    """What would help, in the order in which it costs a user least; each line says what it would bring."""

    def tokens(changed: Load, parallel: int = tensor_parallel) -> int:
        return capacity(changed, accelerator, tensor_parallel=parallel, utilization=utilization)

    def told(advice: str, found: int) -> str:
        return f"{advice}: {'fits' if found >= load.context_length else 'not enough alone'}, {found} tokens of KV cache"

    lines = []
    if load.vision and load.vision_optional:
        lines.append(told('modality = "text"', tokens(replace(load, vision=False))))
    if (now := tokens(load)) >= catalog.SMALLEST_CONTEXT:
        lines.append(f"context_length = {now // 1024 * 1024}: fits")
    if load.kv_bytes > 1:
        lines.append(told('kv_cache_dtype = "fp8"', tokens(replace(load, kv_bytes=1))))
    more = _more_accelerators(
        load, accelerator, count, tensor_parallel, utilization, explicit_parallel=explicit_parallel
    )
    if more:
        lines.append(more)
    if load.draft is not None:
        without = capacity(
            replace(load, draft=None),
            accelerator,
            tensor_parallel=tensor_parallel,
            utilization=utilization_without_draft,
        )
        lines.append(told("speculative = False", without))
    return tuple(lines)


def _more_accelerators(
    load: Load,
    accelerator: Accelerator,
    count: int,
    tensor_parallel: int,
    utilization: float,
    *,
    explicit_parallel: bool,
) -> str | None:
    parallel = tensor_parallel * 2
    while parallel <= load.model.shape.kv_heads:
        if capacity(load, accelerator, tensor_parallel=parallel, utilization=utilization) >= load.context_length:
            key = "tensor_parallel_size" if parallel <= count else "accelerator_count"
            both = f" and tensor_parallel_size = {parallel}" if parallel > count and explicit_parallel else ""
            return f"{key} = {parallel}{both}: fits"
        parallel *= 2
    return None
