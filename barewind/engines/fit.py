"""Whether it fits: weights, draft, KV cache and overhead against the memory that the accelerators report.

All sizes are MiB per accelerator unless a name says otherwise. Tensor parallelism divides weights and KV cache evenly;
what every accelerator holds for itself is the overhead.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from barewind.catalog import Accelerator, Model
from barewind.engines.counted import NOTHING, Counted

MIB = 2**20
BLOCK = 16  # tokens: engines hand KV cache out in blocks of this size

# What an accelerator holds besides weights and KV cache, whatever is served: CUDA or HIP context (0.5 GiB), NCCL or RCCL
# buffers (0.5 GiB), fragmentation (0.5 GiB), and captured graphs: up to 2 GiB for steps of up to 256 sequences, which is what
# engines capture for 128 of them; in proportion for larger steps, up to the 512 where engines stop. Inferred; the published
# set-ups (one H200 refused, one MI300X at 131072, two H100 at 32768) hold with it.
FIXED_OVERHEAD_MIB = 3584
_GRAPHS_MIB, _GRAPH = 2048, 256
_LARGEST_GRAPH = 512
CONTEXT_MIB = 512  # of a runtime, gone before an engine looks how much there is

# Sequences whose logits are within the fixed part. Those of more: BF16 of the output layer and two copies in FP32 of the sampler.
_SAMPLED = 128
_BYTES_PER_LOGIT = 10

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
    sequences: int = _SAMPLED
    draft_tokens: int = 0  # per sequence and step
    options: Counted = NOTHING  # what `engine_args` say beside the keys
    adapters: int = 0  # (LoRA) that there is room for at a time


@dataclass(frozen=True)
class Fit:
    """What fits. `kv_bytes_per_token` is over all accelerators, for the target model; `weights_mib` per accelerator."""

    fits: bool
    weights_mib: int
    kv_bytes_per_token: int
    kv_token_capacity: int
    context_length: int
    max_context_length: int
    concurrent_sequences: int
    advice: tuple[str, ...] = ()  # what would make it fit, barewind/engines/advice.py
    data_parallel: int = 1  # engines side by side, each with its own cache of `kv_token_capacity`


def kv_bytes_per_token(model: Model, kv_bytes: int) -> int:
    """Bytes of KV cache that a token takes over all accelerators: keys and values of every layer's KV heads."""
    shape = model.shape
    return 2 * shape.layers * shape.kv_heads * shape.head_dim * kv_bytes


def weights_mib(model: Model, *, vision: bool, tensor_parallel: int, vision_copies: bool = False) -> int:
    """MiB of weights on each accelerator, rounded up."""
    tower = model.weights.vision if vision else 0
    body = model.weights.total - model.weights.vision
    share = body / tensor_parallel + (tower if vision_copies else tower / tensor_parallel)
    return ceil(share / MIB)


def graphs_mib(sequences: int, options: Counted = NOTHING) -> int:
    """MiB of captured graphs on each accelerator."""
    if options.no_graphs:
        return 0
    usual = min(_LARGEST_GRAPH, max(_GRAPH, 2 * sequences))
    return _GRAPHS_MIB * (usual if options.largest_graph is None else options.largest_graph) // _GRAPH


def logits_mib(model: Model, *, sequences: int, draft_tokens: int) -> int:
    """MiB that sampling for more sequences than usual takes on each accelerator."""
    rows = max(0, sequences - _SAMPLED) * (1 + draft_tokens)
    return ceil(rows * model.shape.vocabulary * _BYTES_PER_LOGIT / MIB)


def adapters_mib(model: Model, *, adapters: int, rank: int, tensor_parallel: int) -> int:
    """MiB that the room for adapters (LoRA, BF16) takes on each accelerator: two narrow matrices beside each layer's products.

    What reads or makes hidden states is held whole by every accelerator, the other side is divided.
    """
    shape = model.shape
    whole = 7 * shape.hidden  # in front of q, k, v, gate and up; behind o and down
    divided = 2 * shape.heads * shape.head_dim + 2 * shape.kv_heads * shape.head_dim + 3 * shape.intermediate
    numbers = shape.layers * (whole + divided / tensor_parallel) * rank * adapters
    return ceil(numbers * _BYTES_PER_ACTIVATION / MIB)


def overhead_mib(model: Model, *, batched_tokens: int, tensor_parallel: int) -> int:
    """MiB that each accelerator needs besides weights and KV cache: the fixed part and the activations of a step.

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
    used += graphs_mib(load.sequences, load.options) - _GRAPHS_MIB
    used += logits_mib(load.model, sequences=load.sequences, draft_tokens=load.draft_tokens)
    if load.adapters:
        rank = load.options.adapter_rank
        used += adapters_mib(load.model, adapters=load.adapters, rank=rank, tensor_parallel=tensor_parallel)
    per_token = kv_bytes_per_token(load.model, load.kv_bytes)
    if load.draft is not None:
        used += weights_mib(load.draft, vision=False, tensor_parallel=tensor_parallel)
        per_token += kv_bytes_per_token(load.draft, load.kv_bytes)
    # Beyond the number of KV heads they are copied: more accelerators then hold no more tokens.
    share = min(tensor_parallel, load.model.shape.kv_heads)
    free = (int(accelerator.memory_mib * utilization) - used) * MIB
    if load.options.kv_bytes is not None:  # whatever the share is; more than there is keeps the engine from starting
        most = (accelerator.memory_mib - CONTEXT_MIB - used) * MIB
        free = load.options.kv_bytes if load.options.kv_bytes <= most else 0
    block = load.options.block or BLOCK
    tokens = max(0, free * share // per_token // block * block)
    if load.options.kv_blocks is not None:  # likewise
        asked = load.options.kv_blocks * block
        tokens = asked if asked <= tokens else 0
    return tokens if load.options.kv_tokens is None else min(tokens, load.options.kv_tokens)


def judge(load: Load, accelerator: Accelerator, *, tensor_parallel: int, utilization: float) -> Fit:
    """Whether a sequence of the wanted context length fits, and how many do."""
    tokens = capacity(load, accelerator, tensor_parallel=tensor_parallel, utilization=utilization)
    return Fit(
        fits=tokens >= load.context_length,
        weights_mib=_model_mib(load, tensor_parallel),
        kv_bytes_per_token=kv_bytes_per_token(load.model, load.kv_bytes),
        kv_token_capacity=tokens,
        context_length=load.context_length,
        max_context_length=min(tokens, load.model.context_length),
        concurrent_sequences=tokens // load.context_length * load.options.data_parallel,
        data_parallel=load.options.data_parallel,
    )


def _model_mib(load: Load, tensor_parallel: int) -> int:
    whole = weights_mib(
        load.model, vision=load.vision, tensor_parallel=tensor_parallel, vision_copies=load.vision_copies
    )
    return max(0, whole - int(load.options.offloaded_gib * 1024))
