"""What is told of profiles: keys that contradict them, loads and limits that hosts do not keep to."""

from __future__ import annotations

from typing import Any

import pytest

from barewind.errors import BarewindError
from barewind.site.notes import notes
from barewind.site.read import read_site
from tests.support.factories import LAB_IMAGE, LAB_MODEL, MEDIUM, entry

H200 = {"accelerator": "h200", "accelerator_count": 8}


def told(**keys: Any) -> list[str]:
    hosts = [entry(f"10.0.0.{number}", "hopper", **H200 | keys) for number in (11, 12)]
    return notes(read_site(hosts))


@pytest.mark.parametrize(
    ("keys", "lines"),
    [
        ({}, []),
        ({"profile": "throughput"}, []),
        ({"max_num_seqs": 64, "speculative": True}, []),  # nobody has asked for a profile
        (
            {"profile": "throughput", "max_num_seqs": 64},
            ["key 'profile': \"throughput\" would have max_num_seqs 512; the key says 64, and holds"],
        ),
        ({"profile": "throughput", "max_num_seqs": 512, "max_num_batched_tokens": 12288}, []),
        (
            {"profile": "throughput", "engine_args": {"max-num-seqs": 64}},
            ["key 'profile': \"throughput\" would have max_num_seqs 512; the key says 64, and holds"],
        ),
        (
            {"profile": "throughput", "speculative": True},
            ["key 'profile': \"throughput\" would have speculative False; the key says True, and holds"],
        ),
        (
            {"profile": "latency", "max_num_batched_tokens": 16384},
            ["key 'profile': \"latency\" would have max_num_batched_tokens 3072; the key says 16384, and holds"],
        ),
        (
            {"profile": "recipe", "gpu_memory_utilization": 0.8, "kv_cache_dtype": "fp8", "accuracy_floor": 0.9},
            [
                "key 'profile': \"recipe\" would have gpu_memory_utilization left to the engine; the key says 0.8, and holds",
                "key 'profile': \"recipe\" would leave kv_cache_dtype to the engine; the key says fp8, and holds",
            ],
        ),
        ({"expected_concurrency": 512}, []),
        (
            {"expected_concurrency": 2000},
            [
                "key 'expected_concurrency': 2000 in flight, and the host runs 512 at a time: 1488 wait for others to end; more "
                "hosts, or other set-ups (barewind plan --compare), take more"
            ],
        ),
        (
            {"expected_concurrency": 600, "replicas": 4},
            [
                "key 'expected_concurrency': 600 in flight, and the host runs 512 at a time: 88 wait for others to end; more "
                "hosts, or other set-ups (barewind plan --compare), take more"
            ],
        ),
        (
            {"expected_concurrency": 513, "accelerator": "a100"},  # nothing is known of how fast it is
            [
                "key 'expected_concurrency': 513 in flight, and the host runs 512 at a time: 1 wait for others to end; more "
                "hosts, or other set-ups (barewind plan --compare), take more"
            ],
        ),
        ({"tpot_limit": 30.0}, []),
        (
            {"tpot_limit": 5.0},
            [
                "key 'tpot_limit': 5 ms per token is less than one request alone takes (estimate), and changes nothing; more "
                "accelerators for each engine make it less"
            ],
        ),
        (
            {"tpot_limit": 30.0, "max_num_seqs": 512, "speculative": False},
            [
                "key 'tpot_limit': 512 sequences at a time take longer than 30 ms per token (estimate); 128 keep to it",
            ],
        ),
        (
            {"accelerator": "a100", "tpot_limit": 30.0},
            ["key 'tpot_limit': changes nothing, since nothing is known of how fast a100 is here"],
        ),
    ],
    ids=str,
)
def test_what_is_told(keys: dict[str, Any], lines: list[str]) -> None:
    said = [line for line in told(**keys) if "cannot multiply FP8" not in line]
    assert said == [f"{line} (on 10.0.0.11, 10.0.0.12)" for line in lines]


@pytest.mark.parametrize(
    ("keys", "on"),
    [
        ({"engine": "sglang", "accelerator": "mi300x", "channel": "stable"}, f"{MEDIUM} with sglang on mi300x"),
        ({"model": f"{MEDIUM}-EAGLE"}, f"{MEDIUM}-EAGLE with vllm on h200"),
        (
            {"accelerator": "cpu", "accelerator_count": 1, "model": LAB_MODEL, "image": LAB_IMAGE},
            f"{LAB_MODEL} with vllm without accelerators",
        ),
    ],
)
def test_a_recipe_that_nobody_has_published_is_refused(keys: dict[str, Any], on: str) -> None:
    with pytest.raises(BarewindError, match="key 'profile': nobody has published a command for") as caught:
        told(profile="recipe", **keys)
    assert on in str(caught.value)
    assert 'use "balanced", "latency" or "throughput"' in str(caught.value)


@pytest.mark.parametrize(
    "keys", [{"profile": "fast"}, {"tpot_limit": 0.0}, {"tpot_limit": float("inf")}, {"tpot_limit": "50"}], ids=str
)
def test_values_that_are_none(keys: dict[str, Any]) -> None:
    with pytest.raises(BarewindError, match=f"key '{next(iter(keys))}': "):
        told(**keys)
