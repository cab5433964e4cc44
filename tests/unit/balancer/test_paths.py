"""Which paths pass a balancer."""

from __future__ import annotations

from dataclasses import replace

from barewind.balancer.paths import passed_on, refused
from barewind.engines import ENGINES
from barewind.engines.base import CLIENT_PATHS, ApiPath
from tests.support.toy_engine import TOY

VLLM, SGLANG = ENGINES["vllm"], ENGINES["sglang"]


def test_what_clients_may_use_of_an_engine_passes_and_what_is_added() -> None:
    assert passed_on([VLLM], []) == list(CLIENT_PATHS)
    assert passed_on([TOY], ["GET /more"]) == [
        ApiPath("GET", "/list"),
        ApiPath("POST", "/talk"),
        ApiPath("GET", "/more"),
    ]


def test_engines_that_differ_have_all_of_both_but_nothing_of_anyones_inside() -> None:
    assert set(passed_on([VLLM, TOY], [])) == {*CLIENT_PATHS, *TOY.client_paths}
    odd = replace(TOY, client_paths=(ApiPath("GET", "/sleep"), ApiPath("POST", "/talk")))
    assert ApiPath("GET", "/sleep") not in passed_on([VLLM, odd], [])


def test_what_is_inside_is_opened_by_no_key() -> None:
    assert refused([VLLM, SGLANG], ["POST /v1/embeddings", "POST /tokenize", "GET /version"]) == []
    for path in ("/metrics", "/metrics/x", "/inference/v1/generate", "/scale_elastic_ep", "/collective_rpc"):
        assert "inside of vllm" in refused([VLLM], [f"POST {path}"])[0]
    for path in ("/flush_cache", "/hicache/storage-backend", "/update_weights_from_disk", "/server_info"):
        assert "inside of sglang" in refused([SGLANG], [f"GET {path}"])[0]
    assert refused([TOY], ["GET /flush_cache"]) == []


def test_health_is_the_balancers_own() -> None:
    assert "answers /health itself" in refused([VLLM], ["GET /health"])[0]
