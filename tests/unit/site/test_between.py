"""What is told of hosts behind one endpoint that would answer differently."""

from __future__ import annotations

from typing import Any

import pytest

from barewind.site.notes import notes
from barewind.site.read import read_site
from tests.support.factories import engine_entry, entry

BALANCER = entry("10.0.0.9", "balancers")


def told(first: dict[str, Any], second: dict[str, Any], *others: Any) -> list[str]:
    return notes(read_site([engine_entry("10.0.0.1", **first), engine_entry("10.0.0.2", **second), *others]))


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (
            {"context_length": 32768},
            {"context_length": 262144},
            "one endpoint, but the context depends on the host: 32768 tokens on 10.0.0.1 and 262144 tokens on 10.0.0.2; "
            "some hosts refuse longer prompts",
        ),
        (  # nobody sets it: it is what fits
            {"accelerator": "b200", "accelerator_count": 1},
            {},
            "the context depends on the host: 65536 tokens on 10.0.0.1 and 262144 tokens on 10.0.0.2",
        ),
        (
            {"modality": "image"},
            {},
            "images depend on the host: text and images on 10.0.0.1 and text alone on 10.0.0.2; some hosts refuse requests",
        ),
        (
            {"modality": "image", "images_per_prompt": 2},
            {"modality": "image"},
            "the number of images per prompt depends on the host: 2 on 10.0.0.1 and 4 on 10.0.0.2",
        ),
        (
            {"modality": "image", "image_domains": ["a.example"]},
            {"modality": "image"},
            "the hosts that images may come from depend on the host: a.example on 10.0.0.1 and none on 10.0.0.2",
        ),
        (
            {"engine_secrets": {"VLLM_API_KEY": "~/key"}},
            {},
            "the key of clients depends on the host: with a key on 10.0.0.1 and without a key on 10.0.0.2",
        ),
        (
            {"model_revision": "a" * 40},
            {"model_revision": "b" * 40},
            f"the weights depend on the host: mistralai/Mistral-Medium-3.5-128B @ {'a' * 40} on 10.0.0.1",
        ),
        ({"engine": "sglang"}, {}, "whose answers differ. sglang: reasoning in 'reasoning_content'"),
    ],
)
def test_what_depends_on_the_host_is_told(first: dict[str, Any], second: dict[str, Any], said: str) -> None:
    (note,) = told(first, second, BALANCER)
    assert said in note


def test_hosts_that_answer_alike_are_not_told() -> None:
    assert told({"accelerator": "mi300x"}, {"max_num_seqs": 64, "engine_port": 8100}, BALANCER) == []


def test_nothing_is_told_where_no_balancer_stands_before_them() -> None:
    assert told({"context_length": 32768, "modality": "image"}, {}) == []
