"""What is told of an inventory without keeping anything from being carried out."""

from __future__ import annotations

import pytest

from barewind.site.notes import notes
from barewind.site.read import read_site
from barewind.spec.site import HostEntry
from tests.support.factories import MEDIUM, entry

H200 = {"accelerator": "h200", "accelerator_count": 8}


def engine(name: str, *groups: str, engine: str) -> HostEntry:
    return entry(name, *groups, engine=engine, **H200)


BALANCER = entry("10.0.0.2", "balancers")
VLLM = engine("10.0.0.11", "hopper", "prod", engine="vllm")
SGLANG = engine("10.0.0.12", "second", "prod", engine="sglang")
ANSWERS = (
    "vllm: reasoning in 'reasoning', errors in 'error.message', status 404 for the name of another model; "
    "sglang: reasoning in 'reasoning_content', errors in 'message', status 200 for the name of another model. "
    "Clients must take both, or each engine gets a name and an inventory of its own: "
    "docs/recipes.md, Two engines behind one name"
)


@pytest.mark.parametrize(
    ("hosts", "told"),
    [
        ([VLLM, SGLANG, BALANCER], [f"vllm (hopper) and sglang (second), whose answers differ. {ANSWERS}"]),
        (
            [VLLM, engine("10.0.0.12", "hopper", "prod", engine="sglang"), BALANCER],
            [f"vllm (10.0.0.11) and sglang (10.0.0.12), whose answers differ. {ANSWERS}"],
        ),
        ([VLLM, engine("10.0.0.12", "second", engine="vllm"), BALANCER], []),
        ([VLLM, SGLANG], []),  # no balancer: clients know which engine they ask
    ],
    ids=["two groups", "one group", "one engine", "no balancer"],
)
def test_two_engines_behind_one_name_are_told_with_what_differs(hosts: list[HostEntry], told: list[str]) -> None:
    assert notes(read_site(hosts)) == [f"'{MEDIUM}' is answered by {line}" for line in told]


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({}, False),
        ({"kv_cache_dtype": "fp8"}, True),
        ({"engine_args": {"kv-cache-dtype": "fp8_e4m3"}}, True),
        ({"kv_cache_dtype": "fp8", "accuracy_floor": 0.9}, False),  # a gate looks at its answers
        ({"kv_cache_dtype": "fp8", "evaluation": ["./evaluate"]}, False),
    ],
)
def test_a_cache_in_fp8_without_scales_is_told_where_no_gate_looks_at_answers(
    keys: dict[str, object], told: bool
) -> None:
    sentence = (
        f"key 'kv_cache_dtype': FP8 on 10.0.0.11, and the weights of {MEDIUM} bring no calibrated scales for it: answers can get "
        "worse. Let a gate look: accuracy_floor = 0.9 (docs/gates.md)"
    )
    assert notes(read_site([entry("10.0.0.11", "hopper", **H200 | keys)])) == ([sentence] if told else [])
