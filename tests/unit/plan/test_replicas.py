"""Several engines on one host: what they have in common, what each has for itself, and what hosts with one keep."""

from __future__ import annotations

import json
from typing import Any

import pytest

from barewind.engines import ENGINES
from barewind.plan import checks
from barewind.plan.document import HostPlan, as_json
from barewind.plan.engine import EnginePlan
from barewind.spec.keys import EngineSpec
from tests.support.factories import engine_spec, lab_spec, plan


def siblings(count: int, **changes: Any) -> list[EnginePlan]:
    """The plans of a host's engines."""
    return [
        plan(engine_spec(replicas=count, replica=number, engine_port=8000 + number, **changes))
        for number in range(count)
    ]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("vendor", [{}, {"accelerator": "mi300x", "channel": "stable"}, {"container_hardening": False}])
def test_siblings_are_one_release_and_share_a_compile_cache(engine: str, vendor: dict[str, Any]) -> None:
    plans = siblings(2, engine=engine, speculative=False, **vendor)
    assert len({made.release for made in plans}) == 1
    assert plans[0].release is not None
    assert len({made.cache_directory for made in plans}) == 1
    assert [made.url for made in plans] == ["http://192.0.2.11:8000", "http://192.0.2.11:8001"]
    ports = [made.command.argv[made.command.argv.index("--port") + 1] for made in plans]
    assert ports == ["8000", "8001"]


def test_hosts_with_as_many_replicas_serve_the_same_release_whichever_accelerators_they_use() -> None:
    first, _ = siblings(2)
    other = plan(engine_spec(host="gpu-h2", address="192.0.2.12", replicas=2, replica=1, engine_port=9001))
    some = plan(engine_spec(accelerators=list(range(8)), replicas=2, replica=0))
    assert first.release == other.release == some.release
    assert first.release != siblings(4)[0].release != plan(engine_spec()).release


@pytest.mark.parametrize(
    ("spec", "name", "each"),
    [
        (engine_spec(), "gpu-h1", 8),
        (engine_spec(accelerators=[4, 5, 6, 7]), "gpu-h1", 4),
        (engine_spec(replicas=4, replica=3), "gpu-h1-3", 2),
        (engine_spec(accelerators=[0, 1, 2, 3], replicas=2, replica=0), "gpu-h1-0", 2),
        (engine_spec(replicas=2, replica=0, tensor_parallel_size=2), "gpu-h1-0", 4),
        (lab_spec(), "engine1", 1),
        (lab_spec(replicas=2, replica=1), "engine1-1", 1),  # its processors are everybody's
    ],
)
def test_an_engines_name_and_accelerators(spec: EngineSpec, name: str, each: int) -> None:
    assert (spec.name, spec.accelerators_each) == (name, each)
    assert spec.tensor_parallel == (spec.tensor_parallel_size or each)


ALL = {
    "h200": ["--env=NVIDIA_VISIBLE_DEVICES=nvidia.com/gpu=all"],
    "mi300x": ["--device=/dev/kfd", "--device=/dev/dri"],
}


@pytest.mark.parametrize("accelerator", ALL)
def test_a_replicas_container_is_given_no_accelerator_by_the_plan(accelerator: str) -> None:
    whole = plan(engine_spec(accelerator=accelerator, speculative=False)).container
    assert set(ALL[accelerator]) <= set(whole)
    for changes in ({"replicas": 2, "replica": 1}, {"accelerators": [0, 1, 2, 3]}):
        part = plan(engine_spec(accelerator=accelerator, speculative=False, **changes)).container
        assert [option for option in part if option.startswith("--device")] == []
        assert not any("VISIBLE_DEVICES" in option for option in part)
        kept = {option for option in whole if option.startswith(("--runtime", "--cap-add"))}
        assert kept <= set(part)


def test_replicas_have_shared_memory_of_their_own_even_as_root() -> None:
    assert "--ipc=host" in plan(engine_spec(container_hardening=False)).container
    made = siblings(4, container_hardening=False)[0].container
    assert "--ipc=private" in made
    assert "--shm-size=8g" in made
    assert not any(option.startswith("--user=") for option in made)


def test_the_fit_is_that_of_a_replicas_accelerators() -> None:
    alone = plan(engine_spec(accelerator_count=4, expected_concurrency=16)).sizing  # its part of the requests in flight
    for made in siblings(2):
        assert made.sizing == alone


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"replicas": 8}, "1 x h200 (each of 8 replicas) cannot hold"),
        ({"replicas": 8}, "Try: replicas = 4 instead of 8: fits 262144 tokens of context"),
        ({"replicas": 4, "tensor_parallel_size": 1}, "replicas = 2 instead of 4 and tensor_parallel_size = 4: fits"),
        ({"replicas": 4, "accelerators": [0, 1, 2, 3]}, "replicas = 2 instead of 4: fits"),
        ({"replicas": 4, "accelerators": [0, 1, 2, 3]}, "8 in 'accelerators': fits"),
    ],
)
def test_advice_where_a_replica_cannot_hold_the_context(changes: dict[str, Any], said: str) -> None:
    (problem,) = checks.problems(plan(engine_spec(replica=0, **changes)))
    assert said in problem


def test_the_json_names_the_replica_and_is_what_it_was_where_there_is_one() -> None:
    assert "replicas" not in as_json(plan(engine_spec()))
    for number, made in enumerate(siblings(2)):
        printed = json.loads(json.dumps(as_json(made)))
        assert printed["replicas"] == {"name": f"gpu-h1-{number}", "number": number, "of": 2, "accelerators": 4}
        assert (printed["host"], printed["port"]) == ("gpu-h1", 8000 + number)
        assert HostPlan.model_validate(printed).model_dump(mode="json") == printed
