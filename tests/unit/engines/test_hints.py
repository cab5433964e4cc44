"""What is said of a name that is not known: the key or option that says the same, never a word of another meaning."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barewind.catalog.option_classes import option_classes
from barewind.engines import ENGINES, options
from barewind.engines.keys import OWN_KEYS
from barewind.engines.remedies import remedies
from barewind.errors import BarewindError
from barewind.plan import checks
from barewind.plan.engine import plan_host
from barewind.site.read import read_site
from barewind.spec.hints import RENAMED, near
from barewind.spec.keys import KNOWN_KEYS
from tests.support.factories import engine_entry, locked


def said(engine: str, option: str, value: Any = 1) -> str:
    try:
        spec = read_site([engine_entry("10.0.0.1", engine=engine, engine_args={option: value})]).engines["10.0.0.1"]
    except BarewindError as error:
        return str(error)
    return "\n".join(checks.problems(plan_host(spec, locked(spec))))


@pytest.mark.parametrize(
    ("engine", "option", "hint"),
    [
        ("vllm", "speculative-model", "; use the key 'draft'."),
        ("vllm", "num-speculative-tokens", "; use the key 'speculative': speculative = 3."),
        ("vllm", "enable-mm", "; use the key 'modality': modality = \"image\"."),
        ("vllm", "tp", "; use the key 'tensor_parallel_size'."),
        ("vllm", "mem-fraction-static", "; use the key 'gpu_memory_utilization'."),
        ("vllm", "chunked-prefill-size", "; use the key 'max_num_batched_tokens'."),
        ("vllm", "max-running-requests", "; use the key 'max_num_seqs'."),
        ("vllm", "guided-decoding-backend", "; it is structured-outputs-config now"),
        (
            "vllm",
            "disable-log-requests",
            "; leave it out: requests are not logged unless enable-log-requests is given.",
        ),
        ("vllm", "no-such-thing", "; leave it out."),
        ("vllm", "nope", "; leave it out."),
        ("vllm", "enforce-eagr", "; did you mean --enforce-eager?"),
        ("vllm", "max-numseqs", "; did you mean --max-num-seqs?"),
        ("vllm", "max-model-length", "; use the key 'context_length'."),
        ("vllm", "tensor-parallel-sise", "; use the key 'tensor_parallel_size'."),
        ("vllm", "tensor-parallel", "would read it as --tensor-parallel-size; use the key 'tensor_parallel_size'."),
        ("vllm", "quantisation", "; leave it out: the weights bring their own quantization."),
        ("sglang", "context-lenght", "; use the key 'context_length'."),
        ("vllm", "accelerator-count", "; use the key 'accelerator_count'."),
        ("vllm", "max_context_length", "; use the key 'context_length'."),
        ("sglang", "gpu-memory-utilization", "; use the key 'gpu_memory_utilization'."),
        ("sglang", "max-num-batched-tokens", "; use the key 'max_num_batched_tokens'."),
        ("sglang", "tp", "use the key 'tensor_parallel_size'."),
        ("sglang", "enable-prefix-caching", "; leave it out: prefixes are kept unless disable-radix-cache is given."),
        ("sglang", "enforce-eager", "; it is disable-cuda-graph here."),
        ("sglang", "speculative-model", "; use the key 'draft'."),
    ],
)
def test_an_option_that_the_engine_does_not_have(engine: str, option: str, hint: str) -> None:
    assert hint in said(engine, option)


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("max_model_len", "use the key 'context_length'."),
        ("tensor_parallel", "use the key 'tensor_parallel_size'."),
        ("tp", "use the key 'tensor_parallel_size'."),
        ("gpus", "use the key 'accelerator_count'."),
        ("HF_TOKEN", "use the key 'hub_token_file'."),
        ("mem_fraction_static", "use the key 'gpu_memory_utilization'."),
        ("acelerator_count", "did you mean 'accelerator_count'?"),
        ("enforce_eager", "an option of the engine belongs into engine_args."),
        ("colour", "group_data/all.py lists the keys."),
        ("max_unavailable_hosts", "group_data/all.py lists the keys."),
    ],
)
def test_a_key_that_there_is_not(key: str, hint: str) -> None:
    with pytest.raises(BarewindError) as caught:
        read_site([engine_entry("10.0.0.1", **{key: 1})])
    assert f"key '{key}': unknown; {hint}" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("disable-log-requests", "enable-log-requests"),
        ("no-prefix-caching", "prefix-caching"),
        ("tp", "dtype"),
        ("guided-decoding-backend", "kda-decode-backend"),
        ("chunked-prefill-size", "enable-chunked-prefill"),
        ("fp16", "fp8"),
        ("h20", "h200"),
        ("max-num-seqs", "max-num-batched-tokens"),
    ],
)
def test_words_of_another_meaning_are_never_proposed(name: str, other: str) -> None:
    assert near(name, [other]) is None


@given(st.sampled_from(sorted(KNOWN_KEYS)), st.data())
def test_a_letter_left_out_of_a_long_word_is_seen(key: str, data: Any) -> None:
    places = [place for place, letter in enumerate(key) if letter.isalpha()]
    words = key.split("_")
    place = data.draw(st.sampled_from(places))
    word = words[key[:place].count("_")]
    if len(word) > 4 and key[:place] + key[place + 1 :] not in KNOWN_KEYS:
        assert near(key[:place] + key[place + 1 :], KNOWN_KEYS) == key


@given(st.sampled_from(sorted(ENGINES)), st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=20))
def test_what_is_proposed_exists(engine: str, name: str) -> None:
    known = options.load(engine).by_name
    assert near(f"--{name}", known) in (None, *known)


def test_every_key_that_a_table_names_is_one() -> None:
    assert set(RENAMED.values()) <= KNOWN_KEYS
    assert not set(RENAMED) & KNOWN_KEYS


@pytest.mark.parametrize("engine", ENGINES)
def test_an_option_that_there_is_has_a_remedy_only_where_it_would_be_refused(engine: str) -> None:
    refused = {option for option, refusal in option_classes(engine).refused.items() if refusal.always}
    for option in set(remedies(engine)) & set(options.load(engine).by_name):
        assert option in refused or ENGINES[engine].keys.key(option) in OWN_KEYS, option
