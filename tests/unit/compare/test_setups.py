"""Which set-ups of a host there are, which are left out, and in which order they stand."""

from __future__ import annotations

import json
from typing import Any

import pytest

from barewind.compare.document import Comparison, Objective, Setup
from barewind.compare.setups import compared
from barewind.engines.sizing import size
from barewind.lock.file import Lock
from barewind.spec.keys import EngineSpec
from tests.support.factories import engine_spec, lab_spec

NVFP4 = "nvidia/Mistral-Medium-3.5-128B-NVFP4"


def comparison(*, in_flight: int | None = None, objective: Objective = "throughput", **changes: Any) -> Comparison:
    (found,) = compared([engine_spec(**changes)], Lock(), in_flight=in_flight, objective=objective)
    return found


def layouts(found: Comparison) -> set[tuple[int, int]]:
    return {(setup.replicas, setup.tensor_parallel) for setup in found.setups}


def best(found: Comparison) -> tuple[int, bool, str, str]:
    first = found.setups[0]
    return (first.replicas, first.draft, first.kv_cache, first.modality)


def test_every_set_up_that_fits_is_there_and_what_does_not_fit_is_counted() -> None:
    found = comparison()
    # 1, 2, 4 or 8 replicas, with and without draft, BF16 and FP8, text and images; one H200 holds no context
    assert len(found.setups) == 3 * 2 * 2 * 2
    assert layouts(found) == {(1, 8), (2, 4), (4, 2)}
    assert (found.too_large, found.refused) == (8, {})
    assert len({json.dumps(setup.model_dump(exclude={"estimate", "planned"})) for setup in found.setups}) == 24


def test_what_is_planned_is_marked() -> None:
    (planned,) = [setup for setup in comparison(replicas=2, replica=0).setups if setup.planned]
    assert (planned.replicas, planned.tensor_parallel, planned.draft) == (2, 4, True)
    assert (planned.kv_cache, planned.modality, planned.context_length) == ("bf16", "text", 262144)
    assert [setup for setup in comparison(accelerator_count=1).setups if setup.planned] == []


def test_a_set_up_is_sized_as_its_plan_would_be() -> None:
    spec = engine_spec(replicas=4, replica=0, kv_cache_dtype="fp8", modality="image", speculative=False)
    sizing = size(spec)
    assert sizing.fit is not None
    (setup,) = [setup for setup in comparison(**spec.model_dump()).setups if setup.planned]
    assert setup.context_length == sizing.context_length
    assert setup.kv_tokens == 4 * sizing.fit.kv_token_capacity
    assert setup.sequences == 4 * sizing.fit.concurrent_sequences


def test_parallelism_of_the_users_own_stands_beside_the_usual() -> None:
    found = comparison(tensor_parallel_size=4)
    assert layouts(found) == {(1, 4), (1, 8), (2, 4), (4, 2)}
    assert {(setup.replicas, setup.tensor_parallel) for setup in found.setups if setup.planned} == {(1, 4)}


def test_what_a_user_has_set_is_kept() -> None:
    assert {setup.context_length for setup in comparison(context_length=40960).setups} == {40960}
    assert {setup.queued for setup in comparison(max_num_seqs=4, in_flight=10).setups if setup.replicas == 1} == {6}
    assert {setup.kv_cache for setup in comparison(engine_args={"kv-cache-dtype": "fp8"}).setups} == {"fp8"}


@pytest.mark.parametrize(
    ("changes", "reason", "count"),
    [
        ({"engine_args": {"mm-encoder-tp-mode": "data"}, "modality": "image"}, "'mm-encoder-tp-mode' needs images", 16),
        ({"engine_args": {"nonsense": 1}}, "--nonsense is unknown to vllm", 24),
        ({"nvidia_driver": "570.195.03"}, "570.195.03 is older than 580", 24),
    ],
)
def test_what_is_refused_is_counted_with_the_reason(changes: dict[str, Any], reason: str, count: int) -> None:
    ((sentence, refused),) = comparison(**changes).refused.items()
    assert (reason in sentence, refused) == (True, count)


def test_without_accelerators_there_is_nothing_to_compare() -> None:
    (found,) = compared([lab_spec()], Lock())
    assert (found.setups, found.too_large) == ((), 0)
    assert list(found.refused) == ["without accelerators there is nothing to divide"]


def test_only_what_a_model_is_served_for_is_compared() -> None:
    found = comparison(model=NVFP4, accelerator="b200")
    assert {setup.modality for setup in found.setups} == {"text"}
    assert {(setup.draft, setup.kv_cache) for setup in found.setups} == {(False, "fp8")}
    assert {setup.estimate for setup in found.setups} == {None}
    assert all("its weights are not those of" in str(setup.no_estimate) for setup in found.setups)


def test_images_of_the_users_own_are_no_hindrance_to_text() -> None:
    found = comparison(modality="image", images_per_prompt=2, image_domains=["images.example.com"])
    assert {setup.modality for setup in found.setups} == {"image", "text"}
    assert found.refused == {}


@pytest.mark.parametrize(
    ("in_flight", "objective", "first"),
    [
        (1, "throughput", (1, True, "fp8", "text")),
        (512, "throughput", (4, False, "fp8", "text")),
        (512, "latency", (4, False, "fp8", "text")),
        (32, "cost", (1, True, "fp8", "text")),
        (512, "context", (4, False, "fp8", "text")),
    ],
)
def test_the_best_comes_first(in_flight: int, objective: Objective, first: tuple[int, bool, str, str]) -> None:
    assert best(comparison(in_flight=in_flight, objective=objective, cost_per_hour=20.0)) == first


@pytest.mark.parametrize(
    ("objective", "value"),
    [
        ("throughput", lambda setup: -setup.estimate.tokens_per_second),
        ("latency", lambda setup: setup.estimate.ms_per_token),
        ("cost", lambda setup: setup.cost_per_million_tokens),
        ("context", lambda setup: -setup.context_length),
    ],
)
def test_each_objective_sorts_by_its_figure(objective: Objective, value: Any) -> None:
    figures = list(map(value, comparison(objective=objective, accelerator="mi300x", cost_per_hour=16.0).setups))
    assert figures == sorted(figures)
    assert figures[0] < figures[-1]


@pytest.mark.parametrize(
    ("in_flight", "expected_concurrency", "counts"), [(None, None, 32), (None, 64, 64), (8, 64, 8), (8, None, 8)]
)
def test_the_load_is_the_options_then_the_keys(
    in_flight: int | None, expected_concurrency: int | None, counts: int
) -> None:
    found = comparison(in_flight=in_flight, expected_concurrency=expected_concurrency)
    assert found.in_flight == counts
    assert {setup.estimate.in_flight for setup in found.setups if setup.estimate} == {counts}


def test_a_load_beyond_what_fits_queues() -> None:
    assert [setup.queued for setup in comparison(expected_concurrency=700).setups if setup.planned] == [188]


def test_set_ups_without_an_estimate_come_last() -> None:
    found = comparison(speculative=5)
    known = [setup.estimate is not None for setup in found.setups]
    assert known == sorted(known, reverse=True)
    assert {setup.draft: setup.estimate is not None for setup in found.setups} == {False: True, True: False}


def test_the_cost_is_that_of_the_host_over_its_tokens() -> None:
    setup: Setup = comparison(cost_per_hour=24.5).setups[0]
    assert setup.estimate is not None
    assert setup.cost_per_million_tokens == pytest.approx(
        24.5 * 1e6 / 3600 / setup.estimate.tokens_per_second, rel=1e-3
    )
    assert comparison().setups[0].cost_per_million_tokens is None


def test_hosts_that_are_alike_are_compared_once_and_the_best_kind_comes_first() -> None:
    def host(number: int, **changes: Any) -> EngineSpec:
        return engine_spec(host=f"gpu{number}", address=f"192.0.2.{number}", groups=(f"g{number}",), **changes)

    specs = [host(1, accelerator="mi300x"), host(2), host(3), host(4, cost_per_hour=1.0), host(5, accelerator="a100")]
    assert [kind.hosts for kind in compared(specs, Lock())] == [("gpu2", "gpu3"), ("gpu4",), ("gpu1",), ("gpu5",)]
    assert [kind.hosts[0] for kind in compared([host(1, accelerator_count=1), host(2)], Lock())] == ["gpu2", "gpu1"]
