"""Every command that is planned: the engines' own parsers have to take each of them."""

from __future__ import annotations

from itertools import product
from typing import Any

from barewind import catalog
from barewind.engines import ENGINES
from barewind.lock.file import Lock
from barewind.plan.engine import plan_host
from barewind.spec.keys import EngineSpec
from tests.conformance.case import Case
from tests.support.factories import engine_spec, lab_spec

COUNTS = (1, 2, 4, 8)

# Keys that add or change an option, each on top of a plain host.
KEYS: dict[str, dict[str, Any]] = {
    "served_model_name": {"served_model_name": "medium"},
    "context_length": {"context_length": 65536},
    "kv_cache_dtype": {"kv_cache_dtype": "fp8"},
    "gpu_memory_utilization": {"gpu_memory_utilization": 0.8},
    "max_num_seqs": {"max_num_seqs": 128},
    "max_num_batched_tokens": {"max_num_batched_tokens": 16384},
    "images_per_prompt": {"modality": "image", "images_per_prompt": 8},
    "image_domains": {
        "modality": "image",
        "image_domains": ["images.example.com", "cdn.example.com"],
        "accept_risks": ["local-image-files"],
    },
    "tensor_parallel_size": {"tensor_parallel_size": 4},
    "speculative": {"speculative": 5},
    "ipv6": {"address": "2001:db8::11"},
    "engine_args": {"engine_args": {"kernel_config": {"enable_cutedsl_warmup": False}, "enforce_eager": True}},
}


def planned() -> list[Case]:
    """The commands, by what they are for."""
    return [Case(f"{spec.engine}-{name}", spec.engine, _given(spec)) for name, spec in _specs().items()]


def _specs() -> dict[str, EngineSpec]:
    specs: dict[str, EngineSpec] = {"lab": lab_spec(speculative=True, engine_args={"enforce_eager": True})}
    for engine, accelerator, count, modality, speculative in product(
        catalog.engines(), catalog.accelerators(), COUNTS, ("text", "image"), (True, False)
    ):
        name = f"{engine}-{count}x-{accelerator}-{modality}-{'eagle' if speculative else 'plain'}"
        specs[name] = engine_spec(
            engine=engine,
            channel="stable",
            accelerator=accelerator,
            accelerator_count=count,
            modality=modality,
            speculative=speculative,
            image="registry.example/engine:nightly",
        )
    for engine, (key, values) in product(catalog.engines(), KEYS.items()):
        if engine != "sglang" or key != "engine_args":
            specs[f"{engine}-{key}"] = engine_spec(**{"engine": engine, "speculative": True} | values)
    specs["vllm-nvfp4"] = engine_spec(
        model="nvidia/Mistral-Medium-3.5-128B-NVFP4", accelerator="b200", accelerator_count=4
    )
    specs["vllm-0.26.0-blackwell"] = engine_spec(accelerator="b200", image="docker.io/vllm/vllm-openai:v0.26.0")
    return specs


def _given(spec: EngineSpec) -> list[str]:
    """What the engine's parser gets: the command without what starts the program."""
    return plan_host(spec, Lock()).command.argv[len(ENGINES[spec.engine].entrypoint) :]
