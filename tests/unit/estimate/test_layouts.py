"""Which number of replicas does more, and what the plan says of it."""

from __future__ import annotations

from typing import Any

import pytest

from barewind.engines.sizing import size
from barewind.estimate.host import Serving, serving_of
from barewind.estimate.layouts import Better, better, others
from barewind.estimate.lines import lines
from tests.support.factories import engine_spec


def found(**changes: Any) -> list[Better] | None:
    spec = engine_spec(**{"speculative": False} | changes)
    planned = serving_of(spec, size(spec))
    assert isinstance(planned, Serving)
    return better(spec, planned)


def told(**changes: Any) -> list[str]:
    spec = engine_spec(**{"speculative": False} | changes)
    return list(lines(spec, size(spec)))


@pytest.mark.parametrize(
    ("changes", "layouts"),
    [
        ({}, [(1, 8), (2, 4), (4, 2), (8, 1)]),
        ({"accelerator_count": 2}, [(1, 2), (2, 1)]),
        ({"accelerators": [0, 1, 2, 3]}, [(1, 4), (2, 2), (4, 1)]),
        ({"accelerator_count": 6, "replicas": 3}, [(3, 2), (6, 1)]),  # 6 and 3 divide no KV heads
        ({"tensor_parallel_size": 4}, [(1, 8), (2, 4), (4, 2), (8, 1)]),
        ({"tensor_parallel_size": 4, "engine_args": {"data-parallel-size": 2}}, [(1, 4), (2, 2), (4, 1)]),
    ],
)
def test_layouts_that_come_out_even(changes: dict[str, Any], layouts: list[tuple[int, int]]) -> None:
    assert [(spec.replicas, spec.tensor_parallel) for spec in others(engine_spec(**changes))] == layouts


def test_more_engines_do_more_from_some_load_on() -> None:
    layouts = found()
    assert layouts is not None
    assert [(each.replicas, each.tensor_parallel, each.first, each.last) for each in layouts] == [
        (2, 4, 128, 256),
        (4, 2, 384, None),
    ]
    assert all(each.tokens_per_second > each.planned for each in layouts)


def test_one_engine_does_more_up_to_some_load() -> None:
    layouts = found(replicas=4, replica=0)
    assert layouts is not None
    assert [(each.replicas, each.first, each.last) for each in layouts] == [(1, 1, 96), (2, 128, 192)]


def test_nothing_else_fits_on_two_small_accelerators() -> None:
    assert found(accelerator="h100", accelerator_count=2) is None


def test_three_lines() -> None:
    assert told(accelerator="b200", context_length=65536) == [
        "speed   97 tokens/s of the host with 1 request in flight (10.2 ms per token), 733 with 8 (10.8), 2466 with 32 (12.9), "
        "6022 with 128 (21.2), 8704 with 512 (58.7); prompts and answers of 1024 tokens",
        "within  20 %; the first token within 40 %: 0.07 s for a prompt of 1k tokens, 0.35 s for a prompt of 8k tokens, where no "
        "other is before it; measured on this hardware: no",
        "layout  replicas = 2 (tensor parallel 4) does more with 96 to 256 in flight: 9782 instead of 7691 tokens/s with 256; "
        "replicas = 4 (tensor parallel 2) does more from 384 in flight on: 14257 instead of 8704 tokens/s with 512",
    ]


def test_a_shorter_context_is_told() -> None:
    assert (
        "replicas = 8 (tensor parallel 1, 131072 tokens of context) does more from 256" in told(accelerator="mi300x")[2]
    )


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"accelerator": "h100", "accelerator_count": 2}, "layout  no other number of replicas fits"),
        (
            {"accelerator": "h100", "accelerator_count": 4, "max_num_seqs": 8, "context_length": 32768},
            "layout  replicas = 2",
        ),
        ({"accelerator": "mi355x", "accelerator_count": 2, "max_num_seqs": 1}, "layout  replicas = 2"),
    ],
)
def test_what_is_said_of_layouts(changes: dict[str, Any], line: str) -> None:
    assert told(**changes)[2].startswith(line)


def test_where_nothing_is_known_one_line_says_so() -> None:
    assert told(accelerator="a100") == ["speed   no estimate: nothing is known of how fast a100 is"]
