"""What each profile makes of a host that leaves everything else open."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from barewind.engines.sizing import size
from barewind.engines.workload import Sizing
from barewind.estimate.host import Serving, estimate, serving_of
from barewind.plan.checks import problems
from tests.support.factories import MEDIUM, engine_spec, plan

# What an engine has here whatever is published: where the weights are, its name and address, how it ends, and what keeps images,
# keys and metrics as the rest of the fleet expects them. docs/recipes.md, What differs in every command.
OURS = {
    "vllm": (
        f"/models/{MEDIUM} --served-model-name {MEDIUM} --host 192.0.2.11 --port 8000 --shutdown-timeout 600 "
        "--language-model-only"
    ),
    "sglang": (
        f"python3 -m sglang.launch_server --served-model-name {MEDIUM} --host 192.0.2.11 --port 8000 --enable-metrics "
        """--limit-mm-data-per-request '{"image": 0, "video": 0, "audio": 0}' --config /run/barewind/sglang.yaml"""
    ),
}
LAYOUT = "--tokenizer-mode mistral --config-format mistral --load-format mistral"
PARSERS = "--tool-call-parser mistral --reasoning-parser mistral"
MI300X = "--max-model-len 131072 --no-enable-prefix-caching"
DRAFT = (
    f"""--speculative-config '{{"model": "/models/{MEDIUM}-EAGLE", "method": "eagle", "num_speculative_tokens": 3, """
    """"max_model_len": 65536}'"""
)
# Sources: recipes.vllm.ai/mistralai/Mistral-Medium-3.5-128B and the SGLang cookbook, in the spelling of docs/recipes.md.
PUBLISHED = {
    "vllm 8x h200": ({}, f"--tensor-parallel-size 8 {LAYOUT} --enable-auto-tool-choice {PARSERS}"),
    "vllm 4x b200": (
        {"accelerator": "b200", "accelerator_count": 4},
        f"--tensor-parallel-size 4 {LAYOUT} --enable-auto-tool-choice {PARSERS}",
    ),
    "vllm 8x h200, EAGLE": (
        {"speculative": True},
        f"--tensor-parallel-size 8 {LAYOUT} --enable-auto-tool-choice {PARSERS} {DRAFT}",
    ),
    "vllm 1x mi300x": (
        {"accelerator": "mi300x", "accelerator_count": 1},
        f"--tensor-parallel-size 1 {LAYOUT} --enable-auto-tool-choice {PARSERS} {MI300X}",
    ),
    "vllm 8x mi300x": (
        {"accelerator": "mi300x"},
        f"--tensor-parallel-size 8 {LAYOUT} --enable-auto-tool-choice {PARSERS} {MI300X}",
    ),
    "sglang 4x h200": (
        {"engine": "sglang", "accelerator_count": 4},
        f"--model-path /models/{MEDIUM} --tp-size 4 --reasoning-parser mistral --tool-call-parser mistral",
    ),
    "sglang 4x h200, EAGLE": (
        {"engine": "sglang", "accelerator_count": 4, "speculative": True},
        f"--model-path /models/{MEDIUM} --tp-size 4 --reasoning-parser mistral --tool-call-parser mistral --dtype bfloat16 "
        f"--speculative-algorithm EAGLE --speculative-draft-model-path /models/{MEDIUM}-EAGLE --speculative-num-steps 3 "
        "--speculative-eagle-topk 1 --speculative-num-draft-tokens 4",
    ),
}


def options(words: list[str]) -> set[tuple[str, ...]]:
    """A command as a set: each option with its values, and what stands before all options."""
    found: list[list[str]] = [[]]
    for word in words:
        if word.startswith("--"):
            found.append([])
        found[-1].append(word)
    return {tuple(option) for option in found if option}


@pytest.mark.parametrize("title", PUBLISHED)
def test_recipe_is_the_published_command_and_what_this_place_needs(title: str) -> None:
    keys, published = PUBLISHED[title]
    made = plan(engine_spec(profile="recipe", **keys))
    ours = options(shlex.split(OURS[made.spec.engine]))
    planned = options(made.command.argv)
    assert ours <= planned
    assert planned - ours == options(shlex.split(published))
    assert problems(made) == []


def test_recipe_has_the_published_environment() -> None:
    env = plan(engine_spec(profile="recipe", accelerator="mi300x")).command.env
    assert (env["VLLM_ROCM_USE_AITER"], env["SAFETENSORS_FAST_GPU"]) == ("1", "1")
    assert "NCCL_MIN_NCHANNELS" not in env


def test_what_a_recipe_leaves_to_the_engine_is_counted_as_the_engine_would_have_it() -> None:
    settled = size(engine_spec(profile="recipe"))
    assert (settled.utilization, settled.sequences, settled.batched_tokens) == (0.92, 1024, 8192)
    small = size(engine_spec(profile="recipe", accelerator="l40s"))
    assert (small.sequences, small.batched_tokens) == (256, 2048)
    assert size(engine_spec(profile="recipe", engine="sglang", accelerator="b200")).batched_tokens == 16384


@pytest.mark.parametrize(
    ("key", "value", "argument"),
    [
        ("max_num_seqs", 64, ["--max-num-seqs", "64"]),
        ("max_num_batched_tokens", 4096, ["--max-num-batched-tokens", "4096"]),
        ("gpu_memory_utilization", 0.8, ["--gpu-memory-utilization", "0.8"]),
        ("context_length", 65536, ["--max-model-len", "65536"]),
        ("kv_cache_dtype", "fp8", ["--kv-cache-dtype", "fp8"]),
    ],
)
def test_a_key_wins_over_a_recipe(key: str, value: Any, argument: list[str]) -> None:
    plain, changed = (plan(engine_spec(profile="recipe", **keys)).command.argv for keys in ({}, {key: value}))
    assert options(changed) - options(plain) == {tuple(argument)}


def test_a_recipe_that_is_known_not_to_start_has_the_values_that_worked() -> None:
    keys = {"engine": "sglang", "accelerator": "b200", "accelerator_count": 2, "speculative": True}
    argv = options(plan(engine_spec(profile="recipe", **keys)).command.argv)
    assert {("--context-length", "32768"), ("--mem-fraction-static", "0.85")} <= argv
    assert not {option[0] for option in argv} & {"--max-running-requests", "--chunked-prefill-size"}


def test_a_recipe_that_does_not_fit_is_refused_with_what_would() -> None:
    (problem,) = problems(plan(engine_spec(profile="recipe", accelerator="h100", accelerator_count=2)))
    assert "cannot hold" in problem
    assert "accelerator_count = 4: fits 262144 tokens" in problem


# Profile and keys of eight H200: draft, sequences, tokens of a step.
PROFILES: list[tuple[dict[str, Any], tuple[bool, int, int]]] = [
    ({"profile": "balanced"}, (True, 512, 6144)),
    ({"profile": "latency"}, (True, 64, 3072)),
    ({"profile": "throughput"}, (False, 512, 12288)),
    ({"profile": "latency", "expected_concurrency": 1}, (True, 8, 3072)),
    ({"profile": "latency", "expected_concurrency": 128}, (False, 256, 3072)),
    ({"profile": "throughput", "expected_concurrency": 16}, (True, 512, 12288)),
    ({"profile": "throughput", "replicas": 4, "replica": 0}, (False, 128, 6144)),
    ({"tpot_limit": 20.0}, (True, 64, 6144)),
    ({"tpot_limit": 12.5}, (True, 32, 6144)),
    ({"tpot_limit": 20.0, "speculative": False}, (False, 72, 6144)),
    ({"tpot_limit": 5.0}, (True, 512, 6144)),  # no engine keeps to it: told
    ({"profile": "latency", "max_num_seqs": 300, "max_num_batched_tokens": 16384}, (True, 300, 16384)),
]


@pytest.mark.parametrize(("keys", "expected"), PROFILES, ids=str)
def test_what_a_profile_chooses(keys: dict[str, Any], expected: tuple[bool, int, int]) -> None:
    settled = size(engine_spec(**keys))
    assert (settled.draft is not None, settled.sequences, settled.batched_tokens) == expected


@pytest.mark.parametrize("limit", [10.0, 15.0, 30.0, 60.0])
@pytest.mark.parametrize("accelerator", ["h100", "h200", "b200", "mi300x"])
def test_a_full_engine_keeps_to_the_limit_of_a_token(accelerator: str, limit: float) -> None:
    def of_a_full_engine(settled: Sizing) -> float:
        serving = serving_of(spec, settled)
        assert isinstance(serving, Serving)
        return estimate(serving, serving.at_a_time).ms_per_token

    spec = engine_spec(accelerator=accelerator, tpot_limit=limit)
    settled = size(spec)
    one = serving_of(spec, settled)
    assert isinstance(one, Serving)
    if estimate(one, 1).ms_per_token <= limit:
        assert of_a_full_engine(settled) <= limit
    else:
        assert settled == size(engine_spec(accelerator=accelerator))
