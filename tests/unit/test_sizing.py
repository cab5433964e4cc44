"""What a spec leaves open, and what it is settled to on every accelerator."""

from __future__ import annotations

from typing import Any

import pytest

from barewind import catalog, sizing
from barewind.sizing import Sizing
from barewind.spec import EngineSpec
from tests.unit.factories import DIGEST, LAB_MODEL, MEDIUM, engine_spec, lab_spec, plan

EAGLE = f"{MEDIUM}-EAGLE"
K32, K64, K128, K256 = 32768, 65536, 131072, 262144

# Per accelerator: with 1, 2, 4 and 8 of them, the context and whether the draft goes with it; None where nothing fits.
VLLM_TEXT = {
    #                     1             2             4             8
    "h100":   [          None, (K32, False), (K256, True), (K256, True)],
    "h200":   [          None, (K256, True), (K256, True), (K256, True)],
    "b200":   [   (K64, True), (K256, True), (K256, True), (K256, True)],
    "b300":   [  (K256, True), (K256, True), (K256, True), (K256, True)],
    "mi300x": [ (K128, False), (K256, True), (K256, True), (K256, True)],
    "mi325x": [ (K256, False), (K256, True), (K256, True), (K256, True)],
    "mi355x": [  (K256, True), (K256, True), (K256, True), (K256, True)],
}  # fmt: skip
VLLM_IMAGE = VLLM_TEXT | {
    "h100":   [          None,         None, (K256, True), (K256, True)],
    "b200":   [  (K64, False), (K256, True), (K256, True), (K256, True)],
    "mi300x": [   (K64, True), (K256, True), (K256, True), (K256, True)],
}  # fmt: skip
SGLANG = VLLM_IMAGE  # it holds the vision tower in either case
TABLES = {
    ("vllm", "text"): VLLM_TEXT,
    ("vllm", "image"): VLLM_IMAGE,
    ("sglang", "text"): SGLANG,
    ("sglang", "image"): SGLANG,
}
COUNTS = (1, 2, 4, 8)
CELLS = [
    (engine, modality, accelerator, count, expected)
    for (engine, modality), table in TABLES.items()
    for accelerator, row in table.items()
    for count, expected in zip(COUNTS, row, strict=True)
    if (engine, accelerator[0], count) != ("sglang", "b", 2)  # see the tests of the limit below
]


def sized(count: int, accelerator: str, **changes: Any) -> Sizing:
    return sizing.size(engine_spec(accelerator=accelerator, accelerator_count=count, channel="stable", **changes))


def test_the_tables_name_every_accelerator() -> None:
    known = {name for name, one in catalog.accelerators().items() if one.vendor != "none"}
    assert set(VLLM_TEXT) == set(VLLM_IMAGE) == known


@pytest.mark.parametrize(("engine", "modality", "accelerator", "count", "expected"), CELLS)
def test_what_is_chosen(
    engine: str, modality: str, accelerator: str, count: int, expected: tuple[int, bool] | None
) -> None:
    settled = sized(count, accelerator, engine=engine, modality=modality)
    assert settled.fit is not None
    if expected is None:
        # nothing fits: the least is shown, with its advice
        assert (settled.context_length, settled.draft, settled.fit.fits) == (K32, None, False)
        return
    context, draft = expected
    assert settled.fit.fits
    assert (settled.context_length, settled.draft) == (context, EAGLE if draft else None)
    assert settled.utilization == (0.85 if draft else 0.9)
    assert (settled.sequences, settled.batched_tokens, settled.draft_tokens) == (128, 16384, 3)
    assert settled.extra == {}
    assert settled.fit.context_length == context


@pytest.mark.parametrize("accelerator", sorted(VLLM_TEXT))
@pytest.mark.parametrize("modality", ["text", "image"])
def test_more_accelerators_never_mean_less_context(accelerator: str, modality: str) -> None:
    chosen = [sized(count, accelerator, modality=modality).context_length for count in COUNTS]
    assert chosen == sorted(chosen)


# --- What a user sets is kept ---


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        ({"context_length": 5000}, "context_length", 5000),
        ({"context_length": K256}, "context_length", K256),
        ({"gpu_memory_utilization": 0.7}, "utilization", 0.7),
        ({"max_num_seqs": 7}, "sequences", 7),
        ({"max_num_batched_tokens": 2048}, "batched_tokens", 2048),
        ({"speculative": False}, "draft", None),
        ({"speculative": True}, "draft", EAGLE),
        ({"speculative": 1}, "draft_tokens", 1),
        ({"speculative": 7}, "draft_tokens", 7),
    ],
)
@pytest.mark.parametrize("engine", ["vllm", "sglang"])
@pytest.mark.parametrize(("count", "accelerator"), [(8, "h200"), (1, "h100"), (1, "mi300x")])
def test_explicit_values_are_kept_whether_they_fit_or_not(
    count: int, accelerator: str, engine: str, changes: dict[str, Any], field: str, value: Any
) -> None:
    assert getattr(sized(count, accelerator, engine=engine, **changes), field) == value


@pytest.mark.parametrize("value", [True, 1, 5])
def test_a_draft_that_is_asked_for_is_kept_where_it_costs_context(value: Any) -> None:
    # auto: 131072 tokens without a draft
    settled = sized(1, "mi300x", speculative=value)
    assert (settled.context_length, settled.draft) == (K64, EAGLE)
    assert settled.fit is not None
    assert settled.fit.fits


def test_an_explicit_context_drops_the_draft_only_where_it_must() -> None:
    assert sized(1, "mi300x", context_length=90000).draft == EAGLE
    assert sized(1, "mi300x", context_length=K128).draft is None


def test_tensor_parallelism_decides_and_not_the_number_of_accelerators() -> None:
    settled = sized(8, "h100", tensor_parallel_size=2)
    assert (settled.context_length, settled.draft) == (K32, None)
    assert settled == sized(2, "h100")


def test_an_fp8_kv_cache_is_worth_context() -> None:
    settled = sized(2, "h100", kv_cache_dtype="fp8")
    assert (settled.context_length, settled.draft) == (K64, None)


def test_hosts_that_differ_in_name_and_address_are_settled_alike() -> None:
    one = sizing.size(engine_spec(host="a", address="10.0.0.1", groups=("x",)))
    assert sizing.size(engine_spec(host="b", address="fd00::1", groups=("y", "z"))) is one


# --- Other models, no accelerator ---


def test_a_model_of_less_context_gets_all_of_it() -> None:
    settled = sized(1, "h200", model=LAB_MODEL)
    assert (settled.context_length, settled.draft) == (4096, f"{LAB_MODEL}-EAGLE")


def test_a_model_without_a_draft_has_none() -> None:
    assert sized(1, "h200", model=EAGLE).draft is None


def test_without_an_accelerator_there_is_nothing_to_share_out() -> None:
    assert sizing.size(lab_spec(context_length=None)) == Sizing(
        context_length=4096,
        draft=f"{LAB_MODEL}-EAGLE",
        draft_tokens=3,
        utilization=None,
        batched_tokens=None,
        sequences=None,
        extra={},
        fit=None,
    )
    settled = sizing.size(lab_spec(max_num_seqs=8, max_num_batched_tokens=2048, speculative=False))
    assert (settled.sequences, settled.batched_tokens, settled.draft) == (8, 2048, None)


# --- Limits of the catalog ---


def test_sglang_on_two_b200_with_eagle_stays_within_what_worked() -> None:
    settled = sized(2, "b200", engine="sglang", speculative=True)
    assert (settled.context_length, settled.draft, settled.utilization) == (K32, EAGLE, 0.85)
    assert settled.extra == {}  # the share is the utilisation, not an option beside it


@pytest.mark.parametrize(
    ("count", "accelerator", "engine", "changes"),
    [
        (2, "b200", "sglang", {"speculative": False}),
        (4, "b200", "sglang", {"speculative": True}),
        (2, "b200", "vllm", {"speculative": True}),
        (2, "h200", "sglang", {"speculative": True}),
        (8, "b200", "sglang", {}),
    ],
)
def test_the_limit_of_two_b200_holds_for_nothing_else(
    count: int, accelerator: str, engine: str, changes: dict[str, Any]
) -> None:
    assert sized(count, accelerator, engine=engine, **changes).context_length == K256


def test_the_limit_of_two_b200_goes_by_tensor_parallelism() -> None:
    settled = sized(8, "b200", engine="sglang", tensor_parallel_size=2, speculative=True)
    assert settled.context_length == K32


def test_context_comes_before_the_draft_on_two_b200_too() -> None:
    settled = sized(2, "b200", engine="sglang")
    assert (settled.context_length, settled.draft, settled.utilization) == (K256, None, 0.9)


def test_an_explicit_context_beyond_the_limit_drops_the_draft() -> None:
    settled = sized(2, "b200", engine="sglang", context_length=K128)
    assert (settled.context_length, settled.draft) == (K128, None)


def test_an_explicit_share_replaces_the_limits() -> None:
    spec = engine_spec(
        engine="sglang", accelerator="b200", accelerator_count=2, speculative=True, gpu_memory_utilization=0.8
    )
    made = plan(spec)
    assert (made.sizing.utilization, made.sizing.extra) == (0.8, {})
    assert made.command.argv.count("--mem-fraction-static") == 1


NO_WARM_UP = {"kernel-config": {"enable_cutedsl_warmup": False}}


@pytest.mark.parametrize(
    ("accelerator", "tag", "extra"),
    [
        ("b200", "v0.26.0", NO_WARM_UP),
        ("b200", "v0.26.0-cu129", NO_WARM_UP),
        ("b300", "v0.26.0", NO_WARM_UP),
        ("b200", "v0.26.1", {}),
        ("b200", "v0.32.0", {}),
        ("b200", "nightly", {}),
        ("h200", "v0.26.0", {}),
        ("mi300x", "v0.26.0", {}),
    ],
)
@pytest.mark.parametrize("speculative", [True, False])
def test_vllm_0_26_0_on_blackwell_leaves_the_warm_up_out(
    accelerator: str, tag: str, speculative: bool, extra: dict[str, Any]
) -> None:
    spec = engine_spec(accelerator=accelerator, image=f"r.example/vllm:{tag}", speculative=speculative)
    assert sizing.size(spec).extra == extra
    assert ("--kernel-config" in plan(spec).command.argv) == bool(extra)


# --- Images and versions ---


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("r/v:v0.32.0", "0.32.0"),
        ("r/v:0.32.0", "0.32.0"),
        ("r/v:v0.32.0-cu129", "0.32.0"),
        ("r/v:v0.33.0rc1", "0.33.0"),
        ("r/v:v0.5.23-rocm720-mi30x", "0.5.23"),
        ("r.example:5000/v:v0.5.19-cu130", "0.5.19"),
        (f"r/v:v0.26.0@{DIGEST}", "0.26.0"),
        ("r/v:v0.102.13", "0.102.13"),
        ("r/v:nightly", None),
        ("r/v:cu129-nightly", None),
        ("r/v:nightly-" + "0" * 40, None),
        ("r/v:nightly-dev-cu13-20260930-0a1b2c3d", None),
        ("r/v:latest", None),
        ("r/v", None),
        ("10.20.30.40:5000/v", None),
        (f"r/v@{DIGEST}", None),
    ],
)
def test_the_version_is_read_from_the_tag(image: str, version: str | None) -> None:
    assert sizing.version(engine_spec(image=image)) == version


def test_numbers_of_something_else_in_the_tag_are_no_version() -> None:
    assert sizing.version(engine_spec(image="r/v:rocm7.0.0_vllm_0.32.0")) != "7.0.0"


@pytest.mark.parametrize(
    ("changes", "reference"),
    [
        ({}, "docker.io/vllm/vllm-openai:nightly"),
        ({"channel": "stable"}, "docker.io/vllm/vllm-openai:v0.32.0"),
        ({"accelerator": "mi355x", "channel": "stable"}, "docker.io/vllm/vllm-openai-rocm:v0.32.0"),
        ({"engine": "sglang"}, "docker.io/lmsysorg/sglang:nightly-dev-cu13"),
        ({"engine": "sglang", "channel": "stable"}, "docker.io/lmsysorg/sglang:v0.5.23-cu130"),
        (
            {"engine": "sglang", "channel": "stable", "accelerator": "mi300x"},
            "docker.io/lmsysorg/sglang:v0.5.23-rocm720-mi30x",
        ),
        ({"engine": "sglang", "image": f"r/s@{DIGEST}"}, f"r/s@{DIGEST}"),
    ],
)
def test_the_image_of_engine_channel_and_vendor(changes: dict[str, Any], reference: str) -> None:
    assert sizing.reference(engine_spec(**changes)) == reference


# --- Values that only a Python file can hold ---


@pytest.mark.parametrize(
    "engine_args",
    [
        {"a": 1, "b": 0.5, "c": "text", "d": True, "e": False, "f": {"g": [1, {"h": None}]}},
        {"größe": "ß", "quote": 'say "x"'},
        {"long": 10**30},
    ],
)
def test_engine_args_survive_settling(engine_args: dict[str, Any]) -> None:
    spec: EngineSpec = engine_spec(engine_args=engine_args)
    assert sizing.size(spec) == sizing.size(engine_spec())


@pytest.mark.parametrize(
    "value",
    [float("inf"), float("nan"), {"a": {1, 2}}, {"a": object()}, {"a": float("inf")}],
    ids=["inf", "nan", "set", "object", "inf in a dict"],
)
def test_values_that_are_no_json_are_refused_by_validation(value: Any) -> None:
    with pytest.raises(ValueError, match="engine_args"):
        engine_spec(engine_args={"a": value})


@pytest.mark.parametrize(
    ("engine", "option", "key", "value"),
    [
        ("vllm", "gpu-memory-utilization", "gpu_memory_utilization", 0.5),
        ("vllm", "device_memory_utilization", "gpu_memory_utilization", 0.5),
        ("vllm", "--max-num-batched-tokens", "max_num_batched_tokens", 262144),
        ("vllm", "max_num_seqs", "max_num_seqs", 1024),
        ("vllm", "kv-cache-dtype", "kv_cache_dtype", "fp8"),
        ("sglang", "mem-fraction-static", "gpu_memory_utilization", 0.5),
        ("sglang", "chunked-prefill-size", "max_num_batched_tokens", 262144),
        ("sglang", "max-running-requests", "max_num_seqs", 1024),
    ],
)
def test_the_fit_follows_what_engine_args_override(engine: str, option: str, key: str, value: Any) -> None:
    overridden = engine_spec(engine=engine, accelerator="h100", accelerator_count=4, engine_args={option: value})
    by_key = engine_spec(engine=engine, accelerator="h100", accelerator_count=4, **{key: value})
    assert sizing.size(overridden) == sizing.size(by_key)
    assert sizing.size(overridden) != sizing.size(engine_spec(engine=engine, accelerator="h100", accelerator_count=4))
