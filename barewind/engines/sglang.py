"""SGLang: the command for one host.

Sources: the SGLang cookbook for Mistral Medium 3.5 and the options of 0.5.23.
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

_KV_CACHE = {"auto": "auto", "fp8": "fp8_e4m3"}


def command(spec: EngineSpec, sizing: Sizing, *, model_path: str, draft_path: str | None) -> EngineCommand:
    """The arguments and environment of `python3 -m sglang.launch_server` for a host; the image has no entry point."""
    accelerator = catalog.accelerators()[spec.accelerator]
    options = [
        Option("--model-path", model_path, "the weights in the HF layout"),
        Option("--served-model-name", spec.served_model_name or spec.model, "the name clients ask for"),
        Option("--host", spec.address, "listens where the balancers reach it, nowhere else"),
        Option("--port", spec.engine_port, "engine_port"),
        Option("--tp-size", spec.tensor_parallel_size or spec.accelerator_count, "one shard per accelerator"),
        Option("--context-length", sizing.context_length, context_reason(spec, sizing)),
        Option("--tool-call-parser", "mistral", "tool calling"),
        Option("--reasoning-parser", "mistral", "reasoning text in a field of its own"),
        Option("--enable-metrics", True, "queue and token metrics, as vLLM has them without asking"),
    ]
    if spec.modality == "image":
        images = {"image": spec.images_per_prompt or DEFAULT_IMAGES}
        options.append(Option("--limit-mm-data-per-request", images, "images a prompt may hold"))
    if draft_path is not None:
        options += _speculation(sizing, draft_path)
    if spec.kv_cache_dtype != "auto":
        options.append(Option("--kv-cache-dtype", _KV_CACHE[spec.kv_cache_dtype], "kv_cache_dtype"))
    if sizing.utilization is not None:
        options.append(Option("--mem-fraction-static", sizing.utilization, utilization_reason(spec, sizing)))
    if sizing.sequences is not None:
        reason = batch_reason(spec.max_num_seqs, "max_num_seqs")
        options.append(Option("--max-running-requests", sizing.sequences, reason))
    if sizing.batched_tokens is not None:
        reason = batch_reason(spec.max_num_batched_tokens, "max_num_batched_tokens")
        options.append(Option("--chunked-prefill-size", sizing.batched_tokens, reason))
    options += [
        Option(f"--{name}", value, "needed by this set-up, see the catalog") for name, value in sizing.extra.items()
    ]
    entrypoint = catalog.engines()["sglang"].entrypoint
    return EngineCommand(entrypoint, overridden(options, spec), _environment(spec, accelerator.vendor))


def _speculation(sizing: Sizing, draft_path: str) -> list[Option]:
    """A chain of drafted tokens: one branch per step, and the token that the target adds itself."""
    return [
        Option("--dtype", "bfloat16", "required with EAGLE: the draft's params.json names no dtype"),
        Option("--speculative-algorithm", "EAGLE", "EAGLE draft head"),
        Option("--speculative-draft-model-path", draft_path, "EAGLE draft head"),
        Option("--speculative-num-steps", sizing.draft_tokens, "tokens drafted per step"),
        Option("--speculative-eagle-topk", 1, "one branch (cookbook)"),
        Option("--speculative-num-draft-tokens", sizing.draft_tokens + 1, "the drafted tokens and the target's own"),
    ]


def _environment(spec: EngineSpec, vendor: str) -> dict[str, str]:
    env = {
        "HF_HUB_OFFLINE": "1",  # the weights are on the host and checked; nothing is fetched behind the lock's back
        "SGLANG_CACHE_DIR": "/cache",  # what is compiled outlives a restart: docs/weights.md
    }
    if vendor == "amd":
        env["SGLANG_USE_AITER"] = "1"  # SGLang's ROCm documentation
    return env | spec.engine_env
