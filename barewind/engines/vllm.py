"""vLLM: the command for one host.

Sources: the vLLM recipe for Mistral Medium 3.5 and `vllm serve --help` of 0.32. Long options are written with dashes.
"""

from __future__ import annotations

from barewind import catalog
from barewind.engines import (
    DEFAULT_IMAGES,
    EngineCommand,
    Option,
    batch_reason,
    context_reason,
    overridden,
    utilization_reason,
)
from barewind.sizing import Sizing
from barewind.spec import EngineSpec

_KEEP_ALIVE = 75  # seconds; uvicorn's default of 5 closes connections that a balancer is about to reuse


def command(spec: EngineSpec, sizing: Sizing, *, model_path: str, draft_path: str | None) -> EngineCommand:
    """The arguments and environment of `vllm serve` (the image's entry point) for a host."""
    accelerator = catalog.accelerators()[spec.accelerator]
    tensor_parallel = spec.tensor_parallel_size or spec.accelerator_count
    options = [
        Option("--served-model-name", spec.served_model_name or spec.model, "the name clients ask for"),
        Option("--host", spec.address, "listens where the balancers reach it, nowhere else"),
        Option("--port", spec.engine_port, "engine_port"),
        Option("--tokenizer-mode", "mistral", "Mistral layout of the weights"),
        Option("--config-format", "mistral", "Mistral layout of the weights"),
        Option("--load-format", "mistral", "Mistral layout of the weights"),
        Option("--tensor-parallel-size", tensor_parallel, "one shard per accelerator"),
        Option("--max-model-len", sizing.context_length, context_reason(spec, sizing)),
        Option("--enable-auto-tool-choice", True, "tool calling"),
        Option("--tool-call-parser", "mistral", "tool calling"),
        Option("--reasoning-parser", "mistral", "reasoning text in a field of its own"),
        Option("--shutdown-timeout", spec.shutdown_timeout, "on SIGTERM running requests end instead of being aborted"),
    ]
    if spec.modality == "text":
        options.append(Option("--language-model-only", True, "text only: the vision tower is not loaded (5 GiB)"))
    else:
        images = {"image": spec.images_per_prompt or DEFAULT_IMAGES}
        options.append(Option("--limit-mm-per-prompt", images, "images a prompt may hold"))
        if tensor_parallel > 1:
            options.append(
                Option(
                    "--mm-encoder-tp-mode", "data", "each accelerator encodes whole images: no traffic inside the tower"
                )
            )
    if draft_path is not None:
        options.append(Option("--speculative-config", _speculation(spec, sizing, draft_path), "EAGLE draft head"))
    if accelerator.vendor == "amd":
        options.append(Option("--no-enable-prefix-caching", True, "the MI300X recipe: slower with AITER"))
    if spec.kv_cache_dtype != "auto":
        options.append(Option("--kv-cache-dtype", spec.kv_cache_dtype, "kv_cache_dtype"))
    if sizing.utilization is not None:
        options.append(Option("--gpu-memory-utilization", sizing.utilization, utilization_reason(spec, sizing)))
    if sizing.sequences is not None:
        options.append(Option("--max-num-seqs", sizing.sequences, batch_reason(spec.max_num_seqs, "max_num_seqs")))
    if sizing.batched_tokens is not None:
        reason = batch_reason(spec.max_num_batched_tokens, "max_num_batched_tokens")
        options.append(Option("--max-num-batched-tokens", sizing.batched_tokens, reason))
    options += [
        Option(f"--{name}", value, "needed by this set-up, see the catalog") for name, value in sizing.extra.items()
    ]
    return EngineCommand((model_path,), overridden(options, spec), _environment(spec, accelerator.vendor))


def _speculation(spec: EngineSpec, sizing: Sizing, draft_path: str) -> dict[str, str | int]:
    longest = catalog.models()[spec.model].draft_max_model_len or sizing.context_length
    return {
        "model": draft_path,
        "method": "eagle",
        "num_speculative_tokens": sizing.draft_tokens,
        "max_model_len": min(longest, sizing.context_length),  # caps drafting, not the target
    }


def _environment(spec: EngineSpec, vendor: str) -> dict[str, str]:
    env = {
        "HF_HUB_OFFLINE": "1",  # the weights are on the host and checked; nothing is fetched behind the lock's back
        "VLLM_CACHE_ROOT": "/cache",  # what is compiled outlives a restart: docs/weights.md
        "TRITON_CACHE_DIR": "/cache/triton",
        "VLLM_HTTP_TIMEOUT_KEEP_ALIVE": str(_KEEP_ALIVE),
        "VLLM_NO_USAGE_STATS": "1",
    }
    if vendor == "amd":
        env |= {"VLLM_ROCM_USE_AITER": "1", "SAFETENSORS_FAST_GPU": "1"}  # vLLM recipe
    return env | spec.engine_env
