"""What is valid key by key but does not go together: each is one line with file, key and remedy."""

from __future__ import annotations

from typing import Any

import pytest

from barewind import catalog
from barewind.errors import BarewindError
from barewind.plan import checks
from barewind.site.read import read_site
from tests.support.factories import LAB_IMAGE, LAB_MODEL, MEDIUM, engine_entry, engine_spec, entry, plan

FILE = "group_data/site.py"
HOST = "10.0.0.1"


def problems(**data: Any) -> list[str]:
    with pytest.raises(BarewindError) as caught:
        read_site([engine_entry(HOST, **data)])
    return str(caught.value).splitlines()


CONFLICTS = [
    # data, key, what is said about it
    (
        {"accelerator": "cpu", "accelerator_count": 1, "image": LAB_IMAGE},
        "accelerator",
        f"cpu cannot multiply FP8, which {MEDIUM} is stored in; "
        "use one of a100, h100, h200, h100nvl, h20, h20-141, b200, b300, l40s, rtxpro6000, rtx5090, mi300x, mi308x, mi325x, "
        "mi350x, mi355x",
    ),
    (
        {"accelerator": "cpu", "accelerator_count": 1, "model": LAB_MODEL},
        "image",
        'accelerator "cpu" has no upstream image; name the CPU build of the engine',
    ),
    *(
        (
            {"accelerator": "cpu", "accelerator_count": 1, "model": LAB_MODEL, "engine": engine, "image": image},
            "image",
            f'{image} is a build for {vendor} accelerators, and the host has none (accelerator "cpu"); name a CPU build of '
            f"{engine}, or the accelerator",
        )
        for engine, image, vendor in (
            ("vllm", "vllm/vllm-openai:v0.32.0", "nvidia"),
            ("vllm", "docker.io/vllm/vllm-openai@sha256:" + "1a" * 32, "nvidia"),
            ("vllm", "docker.io/vllm/vllm-openai-rocm:v0.32.0", "amd"),
            ("sglang", "docker.io/lmsysorg/sglang:v0.5.23-cu130", "nvidia"),
            ("sglang", "docker.io/lmsysorg/sglang:v0.5.23", "nvidia"),
            ("sglang", "registry.example.org/sglang:v0.5.23-rocm720-mi30x", "amd"),
        )
    ),
    (
        {"engine": "sglang", "engine_args": {"load-format": "mistral"}},
        "engine_args",
        f"'load-format': 'mistral' asks for weights in another layout, but sglang gets the hf layout of {MEDIUM}; remove it",
    ),
    (
        {"engine": "sglang", "engine_args": {"config": "/x.yaml"}},
        "engine_args",
        "'config' is Barewind's own: it names the file with the admin key, and sglang takes one file alone; write the options of "
        "yours here",
    ),
    (
        {"engine": "sglang", "engine_args": {"model_config_parser": "mistral"}},
        "engine_args",
        f"'model_config_parser': 'mistral' asks for weights in another layout, but sglang gets the hf layout of {MEDIUM}; "
        "remove it",
    ),
    (
        {"engine_args": {"config-format": "hf"}},
        "engine_args",
        f"'config-format': 'hf' asks for weights in another layout, but vllm gets the mistral layout of {MEDIUM}; remove it",
    ),
    (
        {"engine_args": {"--tokenizer-mode": "hf"}},
        "engine_args",
        f"'--tokenizer-mode': 'hf' asks for weights in another layout, but vllm gets the mistral layout of {MEDIUM}; remove it",
    ),
    (
        {"tensor_parallel_size": 3},
        "tensor_parallel_size",
        f"3 does not divide the 96 heads and 8 KV heads of {MEDIUM}; set tensor_parallel_size to one of 1, 2, 4, 8",
    ),
    (
        {"tensor_parallel_size": 6},
        "tensor_parallel_size",
        f"6 does not divide the 96 heads and 8 KV heads of {MEDIUM}; set tensor_parallel_size to one of 1, 2, 4, 8",
    ),
    (
        {"tensor_parallel_size": 5},
        "tensor_parallel_size",
        f"5 does not divide the 96 heads and 8 KV heads of {MEDIUM}; set tensor_parallel_size to one of 1, 2, 4, 8",
    ),
    (
        {"accelerator_count": 6},
        "accelerator_count",
        f"6 does not divide the 96 heads and 8 KV heads of {MEDIUM}; set tensor_parallel_size to one of 1, 2, 4",
    ),
    (
        {"accelerator_count": 3},
        "accelerator_count",
        f"3 does not divide the 96 heads and 8 KV heads of {MEDIUM}; set tensor_parallel_size to one of 1, 2",
    ),
    (
        {"accelerator_count": 64},
        "accelerator_count",
        f"64 does not divide the 96 heads and 8 KV heads of {MEDIUM}; set tensor_parallel_size to one of 1, 2, 4, 8",
    ),
    (
        {"accelerator_count": 4, "tensor_parallel_size": 8},
        "tensor_parallel_size",
        "8 is more than accelerator_count 4; lower it or leave it out",
    ),
    (
        {"tensor_parallel_size": 10**9},
        "tensor_parallel_size",
        "1000000000 is more than accelerator_count 8; lower it or leave it out",
    ),
    (
        {"context_length": 262145},
        "context_length",
        f"262145 is more than {MEDIUM} can take (262144 tokens); lower it",
    ),
    (
        {"context_length": 10**9},
        "context_length",
        f"1000000000 is more than {MEDIUM} can take (262144 tokens); lower it",
    ),
    (
        {"images_per_prompt": 2},
        "images_per_prompt",
        'needs modality = "image", found "text"; set the modality or remove the key',
    ),
    (
        {"image_domains": ["images.example.com"]},
        "image_domains",
        'needs modality = "image", found "text"; set the modality or remove the key',
    ),
    (
        {"modality": "image", "engine": "sglang", "accept_risks": ["trust-remote-code"]},
        "modality",
        '"image" on sglang: clients name files of the container as images: what SGLang can open it reads, and /dev/zero ends it. '
        'Choose another engine, or accept it: accept_risks = ["local-image-files"]',
    ),
    (
        {"modality": "image", "engine_args": {"allowed-media-domains": "None"}},
        "engine_args",
        "'allowed-media-domains' is set by the key 'image_domains', which other parts of the plan go by; use that",
    ),
    (
        {"modality": "text", "images_per_prompt": 1, "engine": "sglang"},
        "images_per_prompt",
        'needs modality = "image", found "text"; set the modality or remove the key',
    ),
    (
        {"modality": "image", "engine_args": {"language-model-only": True}},
        "engine_args",
        "'language-model-only' excludes images; set modality = \"text\" or remove it",
    ),
    (
        {"modality": "image", "engine_args": {"--language_model_only": True}},
        "engine_args",
        "'language-model-only' excludes images; set modality = \"text\" or remove it",
    ),
    (
        {"engine_args": {"limit-mm-per-prompt": {"image": 2}}},
        "engine_args",
        "'limit-mm-per-prompt' needs images; set modality = \"image\" or remove it",
    ),
    (
        {"engine_args": {"mm_encoder_tp_mode": "data"}},
        "engine_args",
        "'mm-encoder-tp-mode' needs images; set modality = \"image\" or remove it",
    ),
    (
        {"engine": "sglang", "engine_args": {"limit-mm-data-per-request": {"image": 2}}},
        "engine_args",
        "'limit-mm-data-per-request' needs images; set modality = \"image\" or remove it",
    ),
    (
        {"engine": "sglang", "image": "r/sglang:v0.5.13"},
        "image",
        "sglang 0.5.13 (r/sglang:v0.5.13) is known not to work: cannot start Medium 3.5 (SGLang cookbook); "
        "use another version",
    ),
    (
        {"engine": "sglang", "image": "r/sglang:v0.5.12-cu130"},
        "image",
        "sglang 0.5.12 (r/sglang:v0.5.12-cu130) is older than 0.5.14, the first that serves this model; "
        "use that or a later one",
    ),
    (
        {"image": "r/vllm:v0.9.2"},
        "image",
        "vllm 0.9.2 (r/vllm:v0.9.2) is older than 0.21.0, the first that serves this model; use that or a later one",
    ),
    (
        {"engine": "sglang", "accelerator": "mi300x"},
        "channel",
        'sglang has no "nightly" image for amd accelerators (channels: "stable"); choose another or name an \'image\'',
    ),
    (
        {"model": f"{MEDIUM}-EAGLE", "speculative": 3},
        "speculative",
        f"no draft is known for {MEDIUM}-EAGLE; name one with 'draft' or set speculative = False",
    ),
    (
        {"model": f"{LAB_MODEL}-EAGLE", "engine": "sglang", "tensor_parallel_size": 1},
        "engine",
        f"sglang loads the hf layout, which {LAB_MODEL}-EAGLE does not come in; choose another engine",
    ),
]


@pytest.mark.parametrize(("data", "key", "said"), CONFLICTS, ids=[f"{key}-{said[:40]}" for _, key, said in CONFLICTS])
def test_each_is_one_line_with_file_key_and_remedy(data: dict[str, Any], key: str, said: str) -> None:
    origin = FILE if key in {"accelerator", "accelerator_count", *data} else f"host '{HOST}'"
    assert problems(**data) == [f"{origin}: key '{key}': {said} (on {HOST})"]


@pytest.mark.parametrize(
    ("option", "key"),
    [
        ("host", "address"),
        ("port", "engine_port"),
        ("--port", "engine_port"),
        ("model", "model"),
        ("served-model-name", "served_model_name"),
        ("served_model_name", "served_model_name"),
        ("tensor-parallel-size", "tensor_parallel_size"),
        ("--tensor_parallel_size", "tensor_parallel_size"),
        ("max-model-len", "context_length"),
        ("shutdown-timeout", "shutdown_timeout"),
    ],
)
@pytest.mark.parametrize("value", [8, False])
def test_options_with_a_key_of_their_own(option: str, key: str, value: Any) -> None:
    assert problems(engine_args={option: value}) == [
        f"{FILE}: key 'engine_args': '{option}' is set by the key '{key}', which other parts of the plan go by; "
        f"use that (on {HOST})"
    ]


@pytest.mark.parametrize(
    ("option", "key"),
    [("model-path", "model"), ("tp-size", "tensor_parallel_size"), ("context-length", "context_length")],
)
def test_options_of_sglang_with_a_key_of_their_own(option: str, key: str) -> None:
    assert problems(engine="sglang", engine_args={option: 8}) == [
        f"{FILE}: key 'engine_args': '{option}' is set by the key '{key}', which other parts of the plan go by; "
        f"use that (on {HOST})"
    ]


@pytest.mark.parametrize("name", ["host=0.0.0.0", "--host=0.0.0.0", "port=1", "", " ", "--", "max num seqs"])
def test_names_of_options_are_names(name: str) -> None:
    (line,) = problems(engine_args={name: True})
    assert line.startswith(f"{FILE}: key 'engine_args")


@pytest.mark.parametrize("draft", [MEDIUM, f"{LAB_MODEL}-EAGLE"])
def test_a_draft_must_be_one_of_the_model(draft: str) -> None:
    (line,) = problems(draft=draft)
    assert line.startswith(f"{FILE}: key 'draft'")


def test_a_nested_key_needs_images_too() -> None:
    (line,) = problems(engine_args={"limit_mm_per_prompt.image": 2})
    assert "needs images" in line


@pytest.mark.parametrize(
    ("engine", "option", "value"),
    [
        ("vllm", "speculative-config", False),
        ("vllm", "language-model-only", False),
        ("sglang", "speculative-num-steps", 5),
    ],
)
def test_options_that_the_draft_and_the_modality_go_by_have_keys(engine: str, option: str, value: Any) -> None:
    (line,) = problems(engine=engine, engine_args={option: value})
    assert f"'{option}' is set by the key" in line


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("gpu-memory-utilization", 1.5),
        ("gpu_memory_utilization", "0.8"),
        ("device-memory-utilization", -0.5),
        ("max-num-seqs", 0),
        ("max-num-seqs", False),
        ("max_num_batched_tokens", 2.5),
    ],
)
def test_options_that_the_fit_follows_have_the_bounds_of_their_keys(option: str, value: Any) -> None:
    (line,) = problems(engine_args={option: value})
    assert f"key 'engine_args': '{option}': " in line
    assert f"found {value!r}; see '" in line


def test_sglang_has_no_image_for_mi355x() -> None:
    assert problems(engine="sglang", channel="stable", accelerator="mi355x")


# --- EAGLE below its own floor: no engine has one above the model's today ---


@pytest.fixture
def late_draft(monkeypatch: pytest.MonkeyPatch) -> None:
    engines = dict(catalog.engines())
    engines["vllm"] = engines["vllm"].model_copy(update={"draft_floor": "0.25.0"})
    monkeypatch.setattr(catalog, "engines", lambda: engines)


@pytest.mark.parametrize("speculative", [True, 3])
def test_eagle_below_its_floor(late_draft: None, speculative: Any) -> None:
    assert problems(image="r/vllm:v0.24.9", speculative=speculative) == [
        f"{FILE}: key 'speculative': vllm 0.24.9 (r/vllm:v0.24.9) is older than 0.25.0, the first that drafts with EAGLE; "
        f"use that or a later one, or set speculative = False (on {HOST})"
    ]


def test_without_a_draft_its_floor_does_not_matter(late_draft: None) -> None:
    assert read_site([engine_entry(HOST, image="r/vllm:v0.24.9", speculative=False)]).engines
    assert read_site([engine_entry(HOST, image="r/vllm:v0.25.0", speculative=True)]).engines


def test_auto_leaves_the_draft_out_below_its_floor(late_draft: None) -> None:
    assert plan(engine_spec(image="r/vllm:v0.24.9")).sizing.draft is None


# --- What goes together ---


@pytest.mark.parametrize(
    "data",
    [
        {"accelerator_count": 6, "tensor_parallel_size": 2},
        {"accelerator_count": 16},
        {"accelerator_count": 32},
        {"tensor_parallel_size": 1},
        {"context_length": 262144},
        {"modality": "image", "engine_args": {"limit-mm-per-prompt": {"image": 2}}},
        {"modality": "image", "engine_args": {"language-model-only": False}},
        {"modality": "text", "engine_args": {"limit-mm-per-prompt": False}},
        {"engine": "sglang", "image": "r/sglang:v0.5.14"},
        {"engine": "sglang", "image": "r/sglang:v0.5.19"},
        {"engine": "sglang", "channel": "stable", "accelerator": "mi300x"},
        {"engine": "sglang", "accelerator": "mi300x", "image": "r/sglang:own"},
        {"image": "r/vllm:v0.21.0", "speculative": True},
        {"image": "r/vllm:v0.100.0"},
        {"model": f"{MEDIUM}-EAGLE", "speculative": False},
        {"model": f"{MEDIUM}-EAGLE", "speculative": "auto"},
        *(
            {"model": LAB_MODEL, "accelerator": "cpu", "accelerator_count": 1, "engine": engine, "image": image}
            for engine, image in (
                ("vllm", LAB_IMAGE),
                ("vllm", "vllm/vllm-openai-cpu:v0.32.0"),
                ("sglang", "lmsysorg/sglang:v0.5.23-xeon"),
                ("sglang", "lmsysorg/sglang@sha256:" + "1a" * 32),  # its repository holds both kinds
                ("sglang", "172.30.77.2:5000/lmsysorg/sglang:v0.5.23-cpu"),
            )
        ),
        {"engine_args": {"load-format": "runai_streamer"}},
        {"engine": "sglang", "engine_args": {"load-format": "runai_streamer"}},
    ],
    ids=str,
)
def test_what_goes_together_is_accepted(data: dict[str, Any]) -> None:
    assert read_site([engine_entry(HOST, **data)]).engines


@pytest.mark.parametrize(
    "domain",
    [
        "https://x.example.com",
        "x.example.com:80",
        "*.example.com",
        "10.0.0.5",
        "169.254.169.254",
        "",
        "-x.example.com",
        "a b",
        "x.example.com/",
        "user@x.example.com",
        "::1",
        "--flag",
        "x\nexample.com",
        "x.example.com\n",
        "x." * 127 + "com",
    ],
)
def test_a_domain_is_the_exact_name_of_a_host(domain: str) -> None:
    (line,) = problems(modality="image", image_domains=[domain])
    assert "key 'image_domains.0': found " in line
    assert "write the exact name of a host" in line


def test_all_conflicts_of_a_host_come_together() -> None:
    lines = problems(
        tensor_parallel_size=3,
        context_length=10**9,
        images_per_prompt=2,
        image="r/vllm:v0.1.0",
        engine_args={"port": 1},
    )
    keys = [line.split("'")[1] for line in lines]
    assert keys == ["image", "tensor_parallel_size", "images_per_prompt", "engine_args", "context_length"]


def test_a_conflict_of_several_hosts_is_said_once() -> None:
    with pytest.raises(BarewindError) as caught:
        read_site([engine_entry(f"10.0.0.{n}", tensor_parallel_size=3) for n in (1, 2)])
    (line,) = str(caught.value).splitlines()
    assert line.endswith("(on 10.0.0.1, 10.0.0.2)")


# --- Absurd numbers ---

NUMBERS = {
    "accelerator_count": "greater than or equal to 1",
    "tensor_parallel_size": "greater than or equal to 1",
    "context_length": "greater than or equal to 1024",
    "images_per_prompt": "greater than or equal to 1",
    "max_num_seqs": "greater than or equal to 1",
    "max_num_batched_tokens": "greater than or equal to 256",
    "gpu_memory_utilization": "greater than 0.1",
    "engine_port": "greater than or equal to 1",
    "startup_timeout": "greater than or equal to 10",
    "shutdown_timeout": "greater than or equal to 1",
}


@pytest.mark.parametrize(("key", "bound"), NUMBERS.items())
@pytest.mark.parametrize("value", [0, -1, -(10**9)])
def test_numbers_too_small(key: str, bound: str, value: int) -> None:
    assert problems(**{key: value}) == [
        f"{FILE}: key '{key}': Input should be {bound}, found {value}; see group_data/all.py (on {HOST})"
    ]


@pytest.mark.parametrize("key", [key for key in NUMBERS if key != "gpu_memory_utilization"])
@pytest.mark.parametrize("value", [8.0, 2048.5, "8", True])
def test_whole_numbers_are_whole(key: str, value: Any) -> None:
    assert problems(**{key: value}) == [
        f"{FILE}: key '{key}': Input should be a valid integer, found {value!r}; see group_data/all.py (on {HOST})"
    ]


@pytest.mark.parametrize(
    ("key", "bound"),
    [
        ("accelerator_count", "less than or equal to 64"),
        ("engine_port", "less than or equal to 65535"),
        ("gpu_memory_utilization", "less than 1"),
    ],
)
def test_numbers_too_large(key: str, bound: str) -> None:
    assert problems(**{key: 10**9}) == [
        f"{FILE}: key '{key}': Input should be {bound}, found 1000000000; see group_data/all.py (on {HOST})"
    ]


@pytest.mark.parametrize(
    "key", ["max_num_seqs", "max_num_batched_tokens", "images_per_prompt", "startup_timeout", "shutdown_timeout"]
)
def test_numbers_that_nobody_means(key: str) -> None:
    (line,) = problems(modality="image", **{key: 10**9})
    assert line.startswith(f"{FILE}: key '{key}': Input should be less than or equal to ")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_shares_that_are_no_number(value: float) -> None:
    (line,) = problems(gpu_memory_utilization=value)
    assert line.startswith(f"{FILE}: key 'gpu_memory_utilization': Input should be ")


# --- Options that the engine does not know ---


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"engine_args": {"max-num-sequences": 4}},
            "--max-num-sequences is unknown to vllm 0.32.0; use the key 'max_num_seqs'.",
        ),
        ({"engine_args": {"tp": 4}}, "--tp is unknown to vllm 0.32.0; use the key 'tensor_parallel_size'."),
        (
            {"engine_args": {"max-log-len": "many"}},
            "--max-log-len wants a whole number, not 'many'; correct the value.",
        ),
        (
            {"engine_args": {"speculative-model": "x"}},
            "--speculative-model is unknown to vllm 0.32.0; use the key 'draft'.",
        ),
        (
            {"engine_args": {"num_speculative_tokens": 3}},
            "--num-speculative-tokens is unknown to vllm 0.32.0; use the key 'speculative': speculative = 3.",
        ),
        (
            {"engine_args": {"enable-mm": True}},
            "--enable-mm is an abbreviation: vllm 0.32.0 would read it as --enable-mm-embeds; use the key 'modality'",
        ),
        (
            {"engine": "sglang", "engine_args": {"tp": 4}},
            "--tp is an abbreviation: sglang 0.5.23 would read it as --tp-size; use the key 'tensor_parallel_size'.",
        ),
        (
            {"engine": "sglang", "engine_args": {"max-running-request": 4}},
            "--max-running-request is an abbreviation: sglang 0.5.23 would read it as --max-running-requests; ",
        ),
        (
            {"engine": "sglang", "engine_args": {"gpu-memory-utilization": 0.8}},
            "--gpu-memory-utilization is unknown to sglang 0.5.23; use the key 'gpu_memory_utilization'.",
        ),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else None,
)
def test_an_option_that_the_engine_does_not_know(changes: dict[str, Any], said: str) -> None:
    made = plan(engine_spec(**changes))
    (problem,) = checks.problems(made)
    assert problem.startswith(f"key 'engine_args': {said}")
    with pytest.raises(BarewindError) as caught:
        checks.check({"a": made, "b": made})
    assert str(caught.value) == f"a, b: {problem}"


def test_what_does_not_fit_is_said_with_what_would() -> None:
    made = plan(engine_spec(accelerator="h100", accelerator_count=2, context_length=65536))
    assert checks.problems(made) == [
        f"2 x h100 cannot hold {MEDIUM} with 65536 tokens of context: room for 45264 tokens of KV cache. "
        'Try: kv_cache_dtype = "fp8": fits 65536 tokens of context, with room for 90528; or context_length = 45056: fits, with '
        "room for 45264; or accelerator_count = 4: fits 65536 tokens of context, with room for 447312"
    ]


def test_an_option_that_the_engine_knows_and_refuses_for_the_model() -> None:
    made = plan(engine_spec(engine="sglang", engine_args={"language-model-only": True}))
    (problem,) = checks.problems(made)
    assert "--language-model-only is refused by SGLang for this model" in problem


def test_memory_and_options_are_told_together() -> None:
    made = plan(engine_spec(accelerator="h200", accelerator_count=1, engine_args={"nonsense": 1}))
    memory, option = checks.problems(made)
    assert memory.startswith("1 x h200 cannot hold ")
    assert option.startswith("key 'engine_args': --nonsense is unknown to vllm 0.32.0")


def test_a_balancer_is_asked_for_no_engine_keys() -> None:
    site = read_site([engine_entry(HOST), entry("10.0.0.2", "balancers", accelerator="h200", tensor_parallel_size=3)])
    assert list(site.balancers) == ["10.0.0.2"]
