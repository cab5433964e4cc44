"""What a spec leaves open, and what it is settled to on every accelerator."""

from __future__ import annotations

from typing import Any

import pytest

from barewind import catalog
from barewind.engines import sizing
from barewind.engines.candidate import MARGIN
from barewind.engines.sizing import Sizing
from barewind.spec.keys import EngineSpec
from tests.support.factories import LAB_MODEL, MEDIUM, engine_spec, lab_spec, plan

EAGLE = f"{MEDIUM}-EAGLE"
K32, K64, K128, K256 = 32768, 65536, 131072, 262144

# Per accelerator: with 1, 2, 4 and 8 of them, the context and whether the draft goes with it; None where nothing fits.
VLLM_TEXT = {
    "a100":      [         None,   (K32, True),  (K256, True),  (K256, True)],
    "h100":      [         None,   (K32, True),  (K256, True),  (K256, True)],
    "h200":      [         None,  (K256, True),  (K256, True),  (K256, True)],
    "h100nvl":   [         None,   (K64, True),  (K256, True),  (K256, True)],
    "h20":  [         None,   (K64, True),  (K256, True),  (K256, True)],
    "h20-141":   [         None,  (K256, True),  (K256, True),  (K256, True)],
    "b200":      [  (K64, True),  (K256, True),  (K256, True),  (K256, True)],
    "b300":      [ (K256, True),  (K256, True),  (K256, True),  (K256, True)],
    "l40s":      [         None,          None,  (K64, False),  (K256, True)],
    "rtxpro6000":[         None,   (K64, True),  (K256, True),  (K256, True)],
    "rtx5090":   [         None,          None,          None,  (K128, True)],
    "mi300x":    [(K128, False), (K256, False), (K256, False), (K256, False)],
    "mi308x":    [(K128, False), (K256, False), (K256, False), (K256, False)],
    "mi325x":    [(K256, False), (K256, False), (K256, False), (K256, False)],
    "mi350x":    [(K256, False), (K256, False), (K256, False), (K256, False)],
    "mi355x":    [(K256, False), (K256, False), (K256, False), (K256, False)],
}  # fmt: skip
VLLM_IMAGE = VLLM_TEXT | {
    "a100":      [         None,          None,  (K256, True),  (K256, True)],
    "h100":      [         None,          None,  (K256, True),  (K256, True)],
    "l40s":      [         None,          None,          None,  (K256, True)],
    "rtx5090":   [         None,          None,          None,   (K64, True)],
    "mi300x":    [ (K64, False), (K256, False), (K256, False), (K256, False)],
    "mi308x":    [ (K64, False), (K256, False), (K256, False), (K256, False)],
}  # fmt: skip
# It holds the vision tower in either case, and not a copy of it on each accelerator.
SGLANG = VLLM_IMAGE | {
    "l40s":      [         None,          None,   (K32, True),  (K256, True)],
    "rtx5090":   [         None,          None,          None,  (K128, True)],
}  # fmt: skip
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
    known = {name for name, accelerator in catalog.accelerators().items() if accelerator.vendor != "none"}
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
    assert (settled.utilization, settled.draft_tokens, settled.extra) == (0.9, 3, {})
    assert settled.fit.context_length == context


# Per accelerator: with 1, 2, 4 and 8 of them tokens of a step, and sequences at a time. Of those without a line nothing is known.
STEPS = {
    "h100":   [     None, (3072,  16), ( 4096, 192), ( 6144, 512)],
    "h200":   [     None, (3072, 128), ( 4096, 384), ( 6144, 512)],
    "b200":   [(3072, 48), (6144, 256), ( 8192, 512), (12288, 512)],
    "b300":   [(3072, 128), (6144, 384), ( 8192, 512), (12288, 512)],
    "mi300x": [(1024, 72), (1536, 256), ( 3072, 512), ( 6144, 512)],
    "mi325x": [(1024, 128), (1536, 384), ( 3072, 512), ( 6144, 512)],
    "mi355x": [(2048, 192), (2048, 512), ( 4096, 512), ( 8192, 512)],
}  # fmt: skip


@pytest.mark.parametrize("accelerator", sorted(VLLM_TEXT))
@pytest.mark.parametrize("modality", ["text", "image"])
def test_tokens_of_a_step_are_those_of_half_a_second(accelerator: str, modality: str) -> None:
    for count, known in zip(COUNTS, STEPS.get(accelerator, [(4096, 0)] * 4), strict=True):
        tokens = sized(count, accelerator, modality=modality).batched_tokens
        assert known is None or tokens == (known[0] if modality == "text" else max(known[0], 8192))


@pytest.mark.parametrize("accelerator", STEPS)
def test_as_many_sequences_as_the_cache_holds(accelerator: str) -> None:
    for count, known in zip(COUNTS, STEPS[accelerator], strict=True):
        settled = sized(count, accelerator)
        assert known is None or settled.sequences == known[1]


@pytest.mark.parametrize("accelerator", sorted(VLLM_TEXT))
@pytest.mark.parametrize("engine", ["vllm", "sglang"])
@pytest.mark.parametrize("changes", [{}, {"max_num_batched_tokens": 256}, {"context_length": 1024}, {"speculative": 7}])
def test_sequences_are_never_more_than_cache_and_step_hold(
    engine: str, accelerator: str, changes: dict[str, Any]
) -> None:
    for count in COUNTS:
        settled = sized(count, accelerator, engine=engine, **changes)
        assert settled.fit is not None
        assert settled.sequences is not None
        assert settled.batched_tokens is not None
        if settled.fit.fits:
            rows = 1 + (settled.draft_tokens if settled.draft else 0)
            assert settled.sequences * min(2048, settled.context_length) <= settled.fit.kv_token_capacity
            assert settled.sequences == 1 or 2 * settled.sequences * rows <= settled.batched_tokens


def test_sequences_that_would_cost_the_context_are_not_taken() -> None:
    """More than usual take memory for their graphs and their sampler."""
    assert sized(4, "h100", speculative=False, context_length=K256).sequences == 192
    assert sized(4, "h100", speculative=False, context_length=440_000).sequences == 128


@pytest.mark.parametrize(
    ("accelerator", "in_flight", "drafts"),
    [
        ("h200", None, True),
        ("h200", 48, True),
        ("h200", 64, False),
        ("h200", 128, False),
        ("b200", 64, True),
        ("b200", 96, False),
        ("a100", 32, True),  # nothing is known of how fast it is
        ("a100", 33, False),
        ("mi300x", 1, False),  # nobody has published a run
    ],
)
@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_a_draft_is_taken_where_the_expected_load_is_one_that_it_pays_for(
    engine: str, accelerator: str, in_flight: int | None, drafts: bool
) -> None:
    settled = sized(8, accelerator, engine=engine, expected_concurrency=in_flight)
    assert (settled.draft is not None) == drafts
    assert settled.reasons["speculative"]
    assert sized(8, accelerator, engine=engine, expected_concurrency=in_flight, speculative=True).draft == EAGLE


def test_the_load_of_a_draft_is_that_of_one_engine() -> None:
    assert sized(8, "h200", expected_concurrency=128).draft is None
    assert sized(8, "h200", expected_concurrency=128, replicas=4).draft == EAGLE
    assert (
        sized(8, "h200", expected_concurrency=512, max_num_seqs=8).draft is None
    )  # what waits, waits for a full engine


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
    # auto: 65536 tokens without a draft
    settled = sized(4, "l40s", speculative=value)
    assert (settled.context_length, settled.draft) == (K32, EAGLE)
    assert settled.fit is not None
    assert settled.fit.fits


def test_an_explicit_context_drops_the_draft_only_where_it_must() -> None:
    assert sized(1, "b200", context_length=90000).draft == EAGLE
    assert sized(1, "b200", context_length=97000).draft is None  # it would fit, with less than the margin
    assert sized(1, "b200", context_length=105000).draft is None


def test_tensor_parallelism_decides_and_not_the_number_of_accelerators() -> None:
    settled = sized(8, "h100", tensor_parallel_size=2)
    assert (settled.context_length, settled.draft) == (K32, EAGLE)
    assert settled == sized(2, "h100")


def test_an_fp8_kv_cache_is_worth_context() -> None:
    settled = sized(2, "h100", kv_cache_dtype="fp8")
    assert (settled.context_length, settled.draft) == (K64, EAGLE)


@pytest.mark.parametrize("accelerator", ["mi300x", "mi325x", "mi355x"])
@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_a_draft_that_nobody_has_published_a_run_with_is_taken_only_if_asked_for(engine: str, accelerator: str) -> None:
    assert sized(8, accelerator, engine=engine).draft is None
    assert sized(8, accelerator, engine=engine, speculative=True).draft == EAGLE


# The settings of before: half a percent more memory than there is, and nothing to spare, made it 65536 with a draft.
BEFORE = {"max_num_batched_tokens": 16384, "gpu_memory_utilization": 0.85}


def test_a_default_leaves_a_margin() -> None:
    drafted = sized(1, "b200", **BEFORE, speculative=True, context_length=K64)
    assert drafted.fit is not None
    assert drafted.fit.kv_token_capacity == K64  # to the token: right for who asks for it, no default
    settled = sized(1, "b200", **BEFORE)
    assert (settled.context_length, settled.draft) == (K64, None)


@pytest.mark.parametrize("accelerator", sorted(VLLM_TEXT))
@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_no_default_is_tight(engine: str, accelerator: str) -> None:
    for count in COUNTS:
        settled = sized(count, accelerator, engine=engine)
        assert settled.fit is not None
        assert not settled.fit.fits or settled.fit.kv_token_capacity >= settled.context_length * MARGIN


def test_hosts_that_differ_in_name_and_address_are_settled_alike() -> None:
    settled = sizing.size(engine_spec(host="a", address="10.0.0.1", groups=("x",)))
    assert sizing.size(engine_spec(host="b", address="fd00::1", groups=("y", "z"))) is settled


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


# --- Values that only a Python file can hold ---


@pytest.mark.parametrize(
    "engine_args",
    [
        {"a": 1, "b": 0.5, "c": "text", "d": True, "e": False, "f": {"g": [1, {"h": None}]}},
        {"size": "ß", "quote": 'say "x"'},
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
