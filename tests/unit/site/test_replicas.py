"""The number of engines of a host whose group data leaves it open."""

from __future__ import annotations

from typing import Any

import pytest

from barewind.errors import BarewindError
from barewind.lock.file import Lock
from barewind.plan.document import as_json
from barewind.plan.engine import plan_host
from barewind.site.read import read_site
from barewind.spec.keys import EngineSpec
from tests.support.factories import LAB_IMAGE, LAB_MODEL, entry


def engines(**keys: Any) -> list[EngineSpec]:
    values = {"accelerator": "h200", "accelerator_count": 8, "replicas": "auto"} | keys
    return list(read_site([entry("10.0.0.11", "hopper", **values)]).engines.values())


CPU = {"accelerator": "cpu", "accelerator_count": 1, "model": LAB_MODEL, "image": LAB_IMAGE}


@pytest.mark.parametrize(
    ("keys", "replicas", "why"),
    [
        (
            {},
            1,
            "best for balanced with 32 in flight on the host: 2594 tokens/s, with 2 2447 tokens/s, with 4 1939 tokens/s",
        ),
        (
            {"profile": "latency"},
            1,
            "best for latency with 32 in flight on the host: 12.2 ms per token, with 2 12.9 ms",
        ),
        ({"profile": "throughput"}, 4, "best for throughput on a full host: 9776 tokens/s, with 1 6168 tokens/s"),
        ({"expected_concurrency": 128}, 4, "best for balanced with 128 in flight on the host"),
        ({"profile": "throughput", "expected_concurrency": 8}, 1, "best for throughput with 8 in flight on the host"),
        ({"profile": "throughput", "accelerators": [0, 1, 2, 3]}, 2, "best for throughput on a full host"),
        # four engines would do more, but not within 20 ms per token
        ({"expected_concurrency": 128, "tpot_limit": 20.0}, 2, "best for balanced with 128 in flight on the host"),
        # context comes first: eight engines of an MI300X each hold 131072 tokens alone
        ({"accelerator": "mi300x", "expected_concurrency": 512}, 4, "best for balanced with 512 in flight on the host"),
        (
            {"accelerator": "mi300x", "expected_concurrency": 512, "context_length": 65536},
            8,
            "best for balanced with 512 in flight on the host",
        ),
        ({"accelerator": "a100"}, 1, "as few as can be: nothing is known of how fast a100 is"),
        ({"profile": "recipe"}, 1, "a published command is that of one engine"),
        ({"accelerator_count": 6}, 3, "no other number fits 262144 tokens of context"),  # 6 divide no KV heads
        ({"tensor_parallel_size": 2}, 4, "no other number fits 262144 tokens of context"),
        (CPU, 1, "without accelerators one engine has all processors"),
    ],
    ids=str,
)
def test_the_number_that_is_chosen_and_why(keys: dict[str, Any], replicas: int, why: str) -> None:
    found = engines(**keys)
    assert [spec.replicas for spec in found] == [replicas] * replicas
    assert found[0].replicas_chosen.startswith(why)
    assert engines(**keys) == found  # the next run chooses the same


def test_engines_are_those_of_a_host_that_says_the_number_itself() -> None:
    chosen, said = engines(profile="throughput"), engines(profile="throughput", replicas=4)
    assert [spec.name for spec in chosen] == ["10.0.0.11-0", "10.0.0.11-1", "10.0.0.11-2", "10.0.0.11-3"]
    assert [spec.model_copy(update={"replicas_chosen": ""}) for spec in chosen] == said
    first = plan_host(chosen[0], Lock())
    assert first.command == plan_host(said[0], Lock()).command
    assert as_json(first)["profile"]["why"]["replicas"] == chosen[0].replicas_chosen
    assert "replicas" not in as_json(plan_host(said[0], Lock()))["profile"]["why"]


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"replicas": "many"}, "key 'replicas': Input should be a valid integer, found 'many'"),
        ({"replicas_chosen": "x"}, "key 'replicas_chosen': unknown"),
        ({"profile": "throughput", "engine_port": 8008}, "key 'engine_port': "),  # the ports of four hold weights_port
        ({"tensor_parallel_size": 3}, "key 'tensor_parallel_size': 3 does not divide"),
    ],
)
def test_what_cannot_be_is_refused_as_ever(keys: dict[str, Any], problem: str) -> None:
    with pytest.raises(BarewindError) as caught:
        engines(**keys)
    assert problem in str(caught.value)
