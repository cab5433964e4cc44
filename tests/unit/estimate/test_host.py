"""How fast a host will be, by what is planned for it; and where nothing is known."""

from __future__ import annotations

from typing import Any

import pytest

from barewind import catalog
from barewind.catalog import own
from barewind.engines.sizing import size
from barewind.estimate.host import LOADS, Serving, estimate, estimates, first_tokens, serving_of
from tests.support.factories import LAB_MODEL, engine_spec, lab_spec

NVFP4 = "nvidia/Mistral-Medium-3.5-128B-NVFP4"


def serving(**changes: Any) -> Serving | str:
    spec = engine_spec(**{"speculative": False} | changes)
    return serving_of(spec, size(spec))


def known(**changes: Any) -> Serving:
    found = serving(**changes)
    assert isinstance(found, Serving)
    return found


def test_a_host_is_estimated_at_each_load() -> None:
    assert [each.model_dump() for each in estimates(serving())] == [
        {"in_flight": 1, "tokens_per_second": 90.3, "ms_per_token": 10.98, "error_percent": 10},
        {"in_flight": 8, "tokens_per_second": 670.1, "ms_per_token": 11.84, "error_percent": 10},
        {"in_flight": 32, "tokens_per_second": 2150.8, "ms_per_token": 14.78, "error_percent": 10},
        {"in_flight": 128, "tokens_per_second": 4804.8, "ms_per_token": 26.54, "error_percent": 10},
        {"in_flight": 512, "tokens_per_second": 6168.1, "ms_per_token": 82.89, "error_percent": 10},
    ]
    assert LOADS == (1, 8, 32, 128, 512)


@pytest.mark.parametrize(
    ("accelerators", "percent"),
    [(("h100", "h200", "mi300x"), 10), (("b200", "b300"), 20), (("mi325x", "mi355x"), 30)],
)
def test_how_far_off_it_may_be_is_the_hardwares(accelerators: tuple[str, ...], percent: int) -> None:
    for accelerator in accelerators:
        assert {each.error_percent for each in estimates(serving(accelerator=accelerator))} == {percent}


def test_a_draft_that_nobody_has_published_there_is_less_sure() -> None:
    assert [known(accelerator=name, speculative=True).error_percent for name in ("h200", "b200", "mi300x")] == [
        10,
        20,
        30,
    ]
    assert known(accelerator="mi300x").error_percent == 10


def test_the_engines_of_a_host_share_the_requests() -> None:
    one, both = known(accelerator_count=4), known(replicas=2, replica=0)
    assert (both.count, both.together) == (2, 1024)
    # with one request in flight the other engine has nothing to do; with two each has one
    assert estimate(both, 1).tokens_per_second == estimate(one, 1).tokens_per_second
    assert estimate(both, 64).tokens_per_second == pytest.approx(2 * estimate(one, 32).tokens_per_second, rel=1e-4)
    uneven = estimate(both, 3)
    assert estimate(one, 1).ms_per_token < uneven.ms_per_token < estimate(one, 2).ms_per_token


def test_engines_side_by_side_in_one_process_group_count_too() -> None:
    assert known(tensor_parallel_size=4, engine_args={"data-parallel-size": 2}).count == 2


@pytest.mark.parametrize(
    ("changes", "together"),
    [
        ({}, 512),
        ({"max_num_seqs": 16}, 16),
        ({"engine_args": {"max-num-seqs": 20}}, 20),
        ({"replicas": 4, "replica": 0, "max_num_seqs": 16}, 64),
        # 43008 tokens of cache and 2048 of a request: what is more waits
        ({"accelerator": "h100", "accelerator_count": 2}, 20),
    ],
)
def test_what_does_not_run_at_a_time_queues(changes: dict[str, Any], together: int) -> None:
    found = known(**changes)
    assert found.together == together
    assert [found.waiting(load) for load in (1, together, together + 7)] == [0, 0, 7]
    assert estimate(found, together + 7) == estimate(found, together).model_copy(update={"in_flight": together + 7})


@pytest.mark.parametrize("accelerator", catalog.speeds())
@pytest.mark.parametrize("changes", [{}, {"speculative": True}, {"replicas": 2, "replica": 0, "max_num_seqs": 24}])
def test_with_more_in_flight_a_host_never_does_less_nor_an_answer_come_sooner(
    accelerator: str, changes: dict[str, Any]
) -> None:
    host = known(accelerator=accelerator, **changes)
    found = [estimate(host, load) for load in range(1, 65)]
    assert [each.tokens_per_second for each in found] == sorted(each.tokens_per_second for each in found)
    assert [each.ms_per_token for each in found] == sorted(each.ms_per_token for each in found)


def test_a_context_shorter_than_the_load_is_filled() -> None:
    short = known(context_length=1024)
    assert short.tokens == 512
    assert list(first_tokens(short)) == []
    assert list(first_tokens(known(context_length=8192))) == ["1k"]
    assert list(first_tokens(known())) == ["1k", "8k"]


def test_a_draft_and_a_narrow_cache_are_counted() -> None:
    plain = estimate(known(), 8)
    assert estimate(known(speculative=True), 8).tokens_per_second > 1.2 * plain.tokens_per_second
    assert estimate(known(kv_cache_dtype="fp8"), 8).tokens_per_second > plain.tokens_per_second


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"accelerator": "a100"}, "nothing is known of how fast a100 is"),
        ({"accelerator": "mi308x"}, "nothing is known of how fast mi308x is"),
        (
            {"model": NVFP4, "accelerator": "b200"},
            f"nothing is known of how fast {NVFP4} is: its weights are not those of",
        ),
        ({"model": LAB_MODEL}, f"nothing is known of how fast {LAB_MODEL} is: its weights are not those of"),
        ({"accelerator_count": 16}, "nothing is known of how fast 16 h200 are together"),
        ({"speculative": 5}, "nothing is known of how many of 5 tokens are right that mistralai/"),
        ({"accelerator_count": 1}, "it does not fit"),
        ({"engine_args": {"enforce-eager": True}}, "engine_args change what a step does"),
        ({"engine_args": {"cpu-offload-gb": 8}}, "engine_args change what a step does"),
        ({"engine_args": {"enable-lora": True}}, "engine_args change what a step does"),
    ],
)
def test_where_nothing_is_known_there_is_no_estimate(changes: dict[str, Any], reason: str) -> None:
    found = serving(**changes)
    assert isinstance(found, str)
    assert found.startswith(reason)
    assert estimates(found) == ()


def test_without_accelerators_there_is_no_estimate() -> None:
    spec = lab_spec()
    assert serving_of(spec, size(spec)) == "nothing is known of how fast cpu is"


@pytest.mark.parametrize("total", [133_605_834_656, 30_000_000_000])
def test_a_model_of_the_sites_own_is_known_by_its_shape(tmp_path: Any, total: int) -> None:
    """Weights that are less than their shape says are those of another kind of model."""
    file = tmp_path / "mine.yaml"
    file.write_text(
        "models:\n"
        "  example/tuned:\n"
        "    revision: main\n"
        "    context_length: 262144\n"
        "    shape: {layers: 88, hidden: 12288, heads: 96, kv_heads: 8, head_dim: 128, intermediate: 28672, vocabulary: 131072}\n"
        f"    weights: {{total: {total}, vision: 5356443136}}\n"
        "    precision: fp8\n"
        '    layouts: {mistral: ["params.json"]}\n'
        "    host_memory_gib: 64\n"
        "    source: test\n"
    )
    own.use([str(file)])
    try:
        found = serving(model="example/tuned")
        if total < 100e9:
            assert isinstance(found, str)
        else:
            assert estimates(found) == estimates(serving())
    finally:
        own.use([])


def test_every_speed_is_one_of_an_accelerator() -> None:
    assert set(catalog.speeds()) < set(catalog.accelerators())
