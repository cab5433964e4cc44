"""The layout of weights is the model's: what an engine is told of it, what goes with it, what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from barewind.engines.sizing import size
from barewind.errors import BarewindError
from barewind.lock.file import wanted_weights
from barewind.plan import checks
from barewind.site.read import read_site
from barewind.spec.keys import EngineSpec
from tests.support.factories import engine_entry, plan

NVFP4 = "nvidia/Mistral-Medium-3.5-128B-NVFP4"
B200 = {"model": NVFP4, "accelerator": "b200", "accelerator_count": 4}


def spec(**data: Any) -> EngineSpec:
    return read_site([engine_entry("10.0.0.1", **B200 | data)]).engines["10.0.0.1"]


def test_weights_in_the_layout_of_hugging_face_are_asked_for_and_read_so() -> None:
    host = spec()
    made = plan(host)
    options = {option.flag: option.value for option in made.command.options}
    assert [(name, layout) for name, _, layout in wanted_weights(host, made.sizing.draft)] == [(NVFP4, "hf")]
    assert options["--config-format"] == "hf"
    assert options["--load-format"] == "safetensors"
    assert options["--tokenizer-mode"] == "mistral"  # tekken.json is beside them
    assert checks.problems(made) == []


def test_a_model_in_both_layouts_is_read_in_the_one_that_the_engine_prefers() -> None:
    assert {name[2] for name in wanted_weights(spec(model="mistralai/Mistral-Medium-3.5-128B"), None)} == {"mistral"}


def test_the_cache_is_as_wide_as_the_weights_are_made_for() -> None:
    half, whole = size(spec()).fit, size(spec(engine_args={"kv-cache-dtype": "bfloat16"})).fit
    assert half is not None
    assert whole is not None
    assert half.kv_token_capacity == pytest.approx(2 * whole.kv_token_capacity, rel=0.001)
    assert "--kv-cache-dtype" in plan(spec()).command.argv


def test_no_draft_is_planned_unasked() -> None:
    assert size(spec()).draft is None


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (
            {"accelerator": "h100"},
            "h100 cannot multiply FP4, which nvidia/Mistral-Medium-3.5-128B-NVFP4 is stored in; use",
        ),
        ({"modality": "image"}, 'is not known to be served for "image"; set text, or another model'),
        ({"accelerator": "mi355x"}, "mi355x cannot multiply FP4"),
        (
            {"engine": "sglang"},
            "key 'engine': nothing is known of sglang with nvidia/Mistral-Medium-3.5-128B-NVFP4; use vllm",
        ),
        ({"image": "docker.io/vllm/vllm-openai:v0.20.2"}, "is older than 0.21.0, the first that serves this model"),
        ({"speculative": 3}, "no draft is known for nvidia/Mistral-Medium-3.5-128B-NVFP4"),
        (
            {"draft": "mistralai/Mistral-Medium-3.5-128B-EAGLE"},
            "in the hf layout, which mistralai/Mistral-Medium-3.5-128B-EAGLE does not come in",
        ),
        (
            {"engine_args": {"load-format": "mistral"}},
            "asks for weights in another layout, but vllm gets the hf layout",
        ),
        (
            {"engine_args": {"config-format": "mistral"}},
            "asks for weights in another layout, but vllm gets the hf layout",
        ),
        ({"engine_args": {"quantization": "modelopt"}}, "the weights bring their own quantization"),
    ],
    ids=str,
)
def test_what_does_not_go_with_it_is_refused(data: dict[str, Any], said: str) -> None:
    with pytest.raises(BarewindError) as caught:
        spec(**data)
    assert said in str(caught.value)


@pytest.mark.parametrize("name", ["RecViking/Mistral-Medium-3.5-128B-NVFP4", "someone/Mistral-Medium-3.5-128B"])
def test_weights_of_another_owner_are_no_slip_of_the_pen(name: str) -> None:
    with pytest.raises(BarewindError) as caught:
        spec(model=name)
    assert "did you mean" not in str(caught.value)
    assert 'a file of your own adds others: catalog = ["mine.yaml"], docs/adding.md' in str(caught.value)
