"""What each server gets where nobody has moved traffic: by the accelerators that its engine uses."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from barewind.balancer.base_weights import base_weights
from barewind.balancer.config import haproxy_config
from barewind.engines.sizing import size
from barewind.estimate.host import Serving, estimate, serving_of
from barewind.spec.keys import EngineSpec
from barewind.spec.site import engines_of
from tests.support.factories import balancer_spec, engine_spec, lab_spec


def host(name: str, **keys: Any) -> tuple[EngineSpec, ...]:
    """The engines of a host of eight accelerators, unless the keys say otherwise."""
    return engines_of(engine_spec(host=name, **keys))


def fleet(*hosts: tuple[EngineSpec, ...]) -> list[EngineSpec]:
    return [engine for engines in hosts for engine in engines]


@pytest.mark.parametrize(
    "engines",
    [
        fleet(host("a"), host("b")),
        fleet(host("a", replicas=2), host("b", replicas=2)),
        fleet(host("a", replicas=2), host("b", accelerator_count=4)),
        fleet(host("a", accelerators=[0, 1]), host("b", accelerator_count=2)),
        fleet(host("a", tensor_parallel_size=4), host("b", accelerator_count=4)),  # four of a's cards are idle
        fleet(host("a"), host("b", accelerator="b200"), host("c", accelerator="mi300x")),
        fleet(host("a"), host("b", standby=True)),
        [lab_spec(host="a"), lab_spec(host="b", engine="sglang")],
    ],
)
def test_engines_that_use_as_many_accelerators_have_weight_100(engines: list[EngineSpec]) -> None:
    assert base_weights(engines) == {engine.name: 100 for engine in engines}
    assert re.findall(r" weight (\d+)", servers(engines)) == ["0"] * any(engine.standby for engine in engines)


@pytest.mark.parametrize(
    ("engines", "weights"),
    [
        (fleet(host("a"), host("b", replicas=2)), {"a": 100, "b-0": 50, "b-1": 50}),
        (
            fleet(host("a", replicas=4), host("b", replicas=2)),
            {"a-0": 50, "a-1": 50, "a-2": 50, "a-3": 50, "b-0": 100, "b-1": 100},
        ),
        (
            fleet(host("a"), host("b", accelerator_count=1, accelerator="mi300x"), host("c", accelerators=[0, 1])),
            {"a": 100, "b": 12, "c": 25},
        ),
        (fleet(host("a"), host("b", tensor_parallel_size=4)), {"a": 100, "b": 50}),
        (
            fleet(host("a"), host("b", tensor_parallel_size=4, engine_args={"data-parallel-size": 2})),
            {"a": 100, "b": 100},
        ),
        (fleet(host("a", standby=True), host("b", replicas=2)), {"a": 100, "b-0": 50, "b-1": 50}),
        ([lab_spec(host="a"), *engines_of(lab_spec(host="b", replicas=2))], {"a": 100, "b-0": 50, "b-1": 50}),
    ],
)
def test_others_have_theirs_in_proportion(engines: list[EngineSpec], weights: dict[str, int]) -> None:
    assert base_weights(engines) == weights


def test_no_weight_is_too_large_for_haproxy_nor_nothing() -> None:
    engines = fleet(host("a", accelerator_count=64, tensor_parallel_size=64), host("b", accelerator_count=1))
    assert base_weights(engines) == {"a": 100, "b": 2}


def test_a_server_of_another_weight_than_100_says_so() -> None:
    engines = fleet(host("a", standby=True), host("b", replicas=2), host("c"), host("d", replicas=2, standby=True))
    assert servers(engines).splitlines() == [
        "    server a 192.0.2.11:8000 maxconn 512 weight 0",
        "    server b-0 192.0.2.11:8000 maxconn 384 weight 50",
        "    server b-1 192.0.2.11:8001 maxconn 384 weight 50",
        "    server c 192.0.2.11:8000 maxconn 512",
        "    server d-0 192.0.2.11:8000 maxconn 384 weight 0",
        "    server d-1 192.0.2.11:8001 maxconn 384 weight 0",
    ]


def test_requests_by_weight_take_about_as_long_on_each_engine() -> None:
    """The reason of the rule, for eight H200 with 128 requests in flight; docs/traffic.md has these figures."""
    pages = (Path(__file__).parents[3] / "docs/traffic.md").read_text()
    for in_flight, most in ((64, 1.4), (128, 1.15), (256, 1.25)):
        times = [per_token(replicas, in_flight) for replicas in (1, 2, 4)]
        assert max(times) / min(times) < most
        assert f"| {in_flight} | {' | '.join(f'{time:.1f}' for time in times)} |" in pages


def per_token(replicas: int, in_flight: int) -> float:
    """Milliseconds per token of a host, whose engines have equal parts of the requests, as their weights are equal."""
    keys = {"speculative": False, "context_length": 32768, "max_num_seqs": 512}
    spec = engine_spec(replicas=replicas, **keys)
    serving = serving_of(spec, size(spec))
    assert isinstance(serving, Serving)
    return estimate(serving, in_flight).ms_per_token


def servers(engines: list[EngineSpec]) -> str:
    """The servers' lines of the configuration."""
    return "\n".join(re.findall(r"^    server .*$", haproxy_config(balancer_spec(), engines), re.MULTILINE))
