"""What `barewind plan --json` prints of a host, and that the documentation says so."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from barewind.plan.document import HostPlan, as_json
from barewind.spec.keys import EngineSpec
from tests.support.factories import engine_spec, lab_spec, plan
from tools import plan_schema


@pytest.mark.parametrize("command", plan_schema.FILES)
def test_the_schema_in_the_documentation_is_that_of_the_models(command: str) -> None:
    assert plan_schema.file(command).read_text() == plan_schema.text(command), "run: python -m tools.plan_schema"


@pytest.mark.parametrize("command", plan_schema.FILES)
def test_every_field_of_the_schema_is_required_but_that_of_replicas_and_nothing_else_is_allowed(command: str) -> None:
    schema = json.loads(plan_schema.text(command))
    for name, part in schema["$defs"].items():
        assert part["additionalProperties"] is False, name
        left_out = {"replicas"} if name == "HostPlan" else set()
        assert sorted(part["required"]) == sorted(set(part["properties"]) - left_out), name


@pytest.mark.parametrize(
    "spec",
    [
        engine_spec(),
        lab_spec(),
        engine_spec(modality="image", speculative=False),
        engine_spec(engine="sglang", channel="stable", accelerator="mi300x"),
        engine_spec(accelerator="h200", accelerator_count=1),
        engine_spec(engine_args={"nonsense": 1}),
    ],
)
def test_every_plan_is_as_the_schema_says(spec: EngineSpec) -> None:
    printed = json.loads(json.dumps(as_json(plan(spec))))
    assert HostPlan.model_validate(printed).model_dump(mode="json") == printed
    with pytest.raises(ValidationError):
        HostPlan.model_validate(printed | {"more": 1})


def test_parallelism_share_and_sequences() -> None:
    made = as_json(plan(engine_spec(tensor_parallel_size=4, max_num_seqs=64, engine_args={"data-parallel-size": 2})))
    assert made["parallelism"] == {"tensor": 4, "data": 2}
    assert (made["sequences"], made["batched_tokens"], made["context_length"]) == (64, 4096, 262144)
    assert made["utilization"] == 0.9


def test_without_accelerators_nothing_is_shared_out() -> None:
    made = as_json(plan(lab_spec()))
    assert (made["fit"], made["utilization"], made["sequences"]) == (None, None, None)
    assert made["parallelism"] == {"tensor": 1, "data": 1}


def test_the_estimate_is_of_the_whole_host() -> None:
    made = as_json(plan(engine_spec(replicas=2, replica=1, speculative=False)))
    assert [each["in_flight"] for each in made["estimate"]] == [1, 8, 32, 128, 512]
    assert made["estimate"][4] == {
        "in_flight": 512,
        "tokens_per_second": 7858.0,
        "ms_per_token": 65.01,
        "error_percent": 10,
    }
    assert made["no_estimate"] is None


def test_what_is_left_open_goes_by_the_profile_and_says_why() -> None:
    made = as_json(plan(engine_spec(max_num_seqs=64, expected_concurrency=128)))["profile"]
    assert (made["name"], made["in_flight"]) == ("balanced", 128)
    assert made["why"] == {
        "max_num_batched_tokens": "streams stand still for 0.39 s at most while prompts are read (estimate)",
        "speculative": "0.82 times the tokens/s with 128 in flight on an engine (estimate)",
    }
    assert as_json(plan(engine_spec(profile="throughput")))["profile"]["in_flight"] is None


def test_where_nothing_is_known_there_is_no_estimate_but_a_reason() -> None:
    made = as_json(plan(engine_spec(accelerator="a100")))
    assert (made["estimate"], made["no_estimate"]) == ([], "nothing is known of how fast a100 is")


@pytest.mark.parametrize(
    ("changes", "begins"),
    [
        ({}, []),
        ({"engine_args": {"nonsense": 1}}, ["key 'engine_args': --nonsense is unknown to vllm 0.32.0"]),
        ({"accelerator_count": 1, "engine_args": {"nonsense": 1}}, ["1 x h200 cannot hold", "key 'engine_args'"]),
        ({"nvidia_driver": "570.195.03"}, ["key 'nvidia_driver': 570.195.03 is older than 580"]),
    ],
)
def test_problems_stand_in_the_document(changes: dict[str, object], begins: list[str]) -> None:
    found = as_json(plan(engine_spec(**changes)))["problems"]
    assert [problem.startswith(begin) for problem, begin in zip(found, begins, strict=True)] == [True] * len(begins)
