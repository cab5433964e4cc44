"""What fits on which accelerators: the published set-ups, the arithmetic behind them, and advice that is true."""

from __future__ import annotations

import ast
import itertools
import re
from dataclasses import replace
from typing import Any

import pytest

from barewind import catalog
from barewind.engines import sizing
from barewind.engines.fit import BLOCK, MIB, Load, capacity, judge, kv_bytes_per_token, overhead_mib, weights_mib
from barewind.engines.sizing import Sizing
from barewind.spec.keys import EngineSpec
from tests.support.factories import LAB_MODEL, MEDIUM, engine_spec

MODEL = catalog.models()[MEDIUM]
DRAFT = catalog.models()[f"{MEDIUM}-EAGLE"]
ACCELERATORS = [name for name, accelerator in catalog.accelerators().items() if accelerator.vendor != "none"]
COUNTS = (1, 2, 4, 8)


def load(**changes: Any) -> Load:
    """The model, text only, in vLLM's usual step of 16384 tokens."""
    values: dict[str, Any] = {
        "model": MODEL,
        "draft": None,
        "vision": False,
        "vision_copies": False,
        "kv_bytes": 2,
        "batched_tokens": 16384,
        "context_length": 32768,
    }
    return Load(**values | changes)


def tokens(held: Load, accelerator: str, count: int, utilization: float = 0.9) -> int:
    return capacity(held, catalog.accelerators()[accelerator], tensor_parallel=count, utilization=utilization)


def sized(count: int, accelerator: str, **changes: Any) -> Sizing:
    return sizing.size(engine_spec(accelerator=accelerator, accelerator_count=count, **changes))


# --- What is published ---

PUBLISHED = [
    # count, accelerator, modality, context, fits
    (1, "h100", "text", 1024, False),
    (1, "h200", "text", 1024, False),
    (1, "h200", "text", 32768, False),
    (1, "h200", "image", 1024, False),
    (1, "h200", "image", 262144, False),
    (2, "h100", "text", 32768, True),
    (2, "h100", "text", 262144, False),
    (4, "h100", "text", 262144, True),
    (4, "h100", "image", 262144, True),
    (1, "b200", "text", 65536, True),
    (1, "b200", "image", 65536, True),
    (1, "b200", "text", 131072, False),
    (1, "mi300x", "text", 131072, True),
    (1, "mi300x", "text", 262144, False),
    (1, "mi325x", "text", 262144, True),
    (1, "mi325x", "image", 262144, True),
    (1, "b300", "text", 262144, True),
    (1, "b300", "image", 262144, True),
    (1, "mi355x", "text", 262144, True),
    (1, "mi355x", "image", 262144, True),
]


@pytest.mark.parametrize(("count", "accelerator", "modality", "context", "fits"), PUBLISHED)
def test_published_set_ups(count: int, accelerator: str, modality: str, context: int, *, fits: bool) -> None:
    usual = {"speculative": False, "max_num_batched_tokens": 16384}  # as they were published
    fit = sized(count, accelerator, modality=modality, context_length=context, **usual).fit
    assert fit is not None
    assert fit.fits is fits
    assert (fit.advice == ()) is fits
    assert fit.context_length == context


@pytest.mark.parametrize("context", [1024, 2048, 4096, 16384, 32768, 65536, 131072, 262144])
@pytest.mark.parametrize("modality", ["text", "image"])
@pytest.mark.parametrize("kv_cache_dtype", ["auto", "fp8"])
def test_one_h200_holds_no_context_at_all(context: int, modality: str, kv_cache_dtype: str) -> None:
    usual = {"kv_cache_dtype": kv_cache_dtype, "max_num_batched_tokens": 16384}
    fit = sized(1, "h200", modality=modality, context_length=context, **usual).fit
    assert fit is not None
    assert not fit.fits


REFERENCE = [
    # count, accelerator, vision tower held, tokens at 0.90 and in BF16 before any overhead, as published
    (2, "h100", True, 55_000),
    (4, "h100", True, 480_000),
    (1, "b200", True, 109_000),
    (1, "mi300x", False, 158_000),
    (1, "mi325x", True, 316_000),
    (1, "mi355x", True, 401_000),
]


@pytest.mark.parametrize(("count", "accelerator", "vision", "published"), REFERENCE)
def test_the_room_before_overhead_is_the_published_one(
    count: int, accelerator: str, vision: bool, published: int
) -> None:
    held = load(vision=vision)
    overhead = overhead_mib(MODEL, batched_tokens=held.batched_tokens, tensor_parallel=count) * count * MIB
    before = tokens(held, accelerator, count) + overhead / kv_bytes_per_token(MODEL, 2)
    assert before == pytest.approx(published, rel=0.03)


def test_the_room_on_one_b300_lies_between_its_neighbours() -> None:
    room = {name: tokens(load(vision=True), name, 1) for name in ("mi325x", "b300", "mi355x")}
    assert room["mi325x"] < room["b300"] < room["mi355x"]


# --- The arithmetic ---


@pytest.mark.parametrize(
    ("model", "kv_bytes", "expected"),
    [(MEDIUM, 2, 360448), (MEDIUM, 1, 180224), (f"{MEDIUM}-EAGLE", 2, 8192), (LAB_MODEL, 2, 1024)],
)
def test_bytes_of_kv_cache_per_token(model: str, kv_bytes: int, expected: int) -> None:
    assert kv_bytes_per_token(catalog.models()[model], kv_bytes) == expected


def test_kv_cache_of_published_contexts_is_44_and_88_gib() -> None:
    assert 131072 * kv_bytes_per_token(MODEL, 2) == 44 * 2**30
    assert 262144 * kv_bytes_per_token(MODEL, 2) == 88 * 2**30


@pytest.mark.parametrize(
    ("vision", "parallel", "copies", "expected"),
    [
        # ceil of bytes / 2**20: 133605834656 in all, 5356443136 of them vision
        (True, 1, False, 127417),
        (True, 1, True, 127417),
        (False, 1, False, 122309),
        (False, 2, False, 61155),
        (True, 2, False, 63709),
        (True, 2, True, 66263),
        (True, 8, False, 15928),
        (True, 8, True, 20397),
    ],
)
def test_weights_per_accelerator(vision: bool, parallel: int, copies: bool, expected: int) -> None:
    assert weights_mib(MODEL, vision=vision, tensor_parallel=parallel, vision_copies=copies) == expected


def test_overhead_is_a_fixed_part_and_the_activations_of_a_step() -> None:
    # one token: gate and up of 28672, four hidden states of 12288, two bytes each
    per_token = (2 * 28672 + 4 * 12288) * 2
    assert overhead_mib(MODEL, batched_tokens=16384, tensor_parallel=1) == 3584 + 16384 * per_token // MIB
    # of which tensor parallelism divides only the first
    per_token = (2 * 28672 // 8 + 4 * 12288) * 2
    assert overhead_mib(MODEL, batched_tokens=16384, tensor_parallel=8) == 3584 + 16384 * per_token // MIB


def test_a_draft_takes_weights_and_kv_cache_of_its_own() -> None:
    without = tokens(load(), "h200", 8)
    free = without * kv_bytes_per_token(MODEL, 2) - DRAFT.weights.total
    expected = free // (kv_bytes_per_token(MODEL, 2) + kv_bytes_per_token(DRAFT, 2))
    assert tokens(load(draft=DRAFT), "h200", 8) == pytest.approx(expected, rel=0.001)


def test_beyond_the_kv_heads_more_accelerators_hold_copies() -> None:
    # 16 hold hardly more than 8: each has the KV head of another as well, only the weights' shares are smaller
    at_8, at_16 = tokens(load(), "h200", 8), tokens(load(), "h200", 16)
    weights = weights_mib(MODEL, vision=False, tensor_parallel=8) - weights_mib(MODEL, vision=False, tensor_parallel=16)
    activations = overhead_mib(MODEL, batched_tokens=16384, tensor_parallel=8) - overhead_mib(
        MODEL, batched_tokens=16384, tensor_parallel=16
    )
    gained = (weights + activations) * MIB * 8 / kv_bytes_per_token(MODEL, 2)
    assert at_16 - at_8 == pytest.approx(gained, abs=2 * BLOCK)


@pytest.mark.parametrize("accelerator", ACCELERATORS)
@pytest.mark.parametrize("count", COUNTS)
def test_capacity_is_whole_blocks_and_never_negative(accelerator: str, count: int) -> None:
    for vision, kv_bytes in itertools.product((False, True), (1, 2)):
        room = tokens(load(vision=vision, kv_bytes=kv_bytes), accelerator, count)
        assert room >= 0
        assert room % BLOCK == 0


@pytest.mark.parametrize("accelerator", ACCELERATORS)
def test_more_of_something_never_leaves_the_other_way_round(accelerator: str) -> None:
    for count in COUNTS:
        usual = tokens(load(), accelerator, count)
        assert tokens(load(), accelerator, count, 0.95) >= usual >= tokens(load(), accelerator, count, 0.8)
        assert tokens(load(kv_bytes=1), accelerator, count) >= usual
        assert tokens(load(vision=True), accelerator, count) <= usual
        shared = tokens(load(vision=True), accelerator, count)
        assert tokens(load(vision=True, vision_copies=True), accelerator, count) <= shared
        assert tokens(load(draft=DRAFT), accelerator, count) <= usual
        assert tokens(load(batched_tokens=32768), accelerator, count) <= usual
        assert tokens(load(), accelerator, count * 2) >= usual
        # the question does not change the room
        assert tokens(load(context_length=262144), accelerator, count) == usual


@pytest.mark.parametrize("accelerator", ACCELERATORS)
@pytest.mark.parametrize("count", COUNTS)
def test_what_fits_with_a_context_fits_with_a_smaller_one(accelerator: str, count: int) -> None:
    answers = []
    for context in (262144, 131072, 65536, 32768, 1024):
        fit = sized(count, accelerator, context_length=context, speculative=False).fit
        assert fit is not None
        answers.append(fit.fits)
        assert fit.concurrent_sequences == fit.kv_token_capacity // context
        assert fit.max_context_length == min(fit.kv_token_capacity, 262144)
        assert fit.fits == (fit.kv_token_capacity >= context)
    assert answers == sorted(answers)


def test_it_fits_to_the_token() -> None:
    held = load(context_length=tokens(load(), "mi300x", 1))
    accelerator = catalog.accelerators()["mi300x"]
    assert judge(held, accelerator, tensor_parallel=1, utilization=0.9).fits
    one_more = replace(held, context_length=held.context_length + 1)
    assert not judge(one_more, accelerator, tensor_parallel=1, utilization=0.9).fits


# --- Advice ---


def advice(spec: EngineSpec) -> tuple[str, ...]:
    fit = sizing.size(spec).fit
    assert fit is not None
    return fit.advice


def changed(spec: EngineSpec, line: str) -> EngineSpec:
    """The spec after a piece of advice was taken."""
    changes: dict[str, Any] = {}
    for assignment in line.partition(": fits")[0].split(" and "):
        if assignment.startswith("engine_args without "):
            changes["engine_args"] = {}
            continue
        key, _, value = assignment.partition(" = ")
        changes[key] = ast.literal_eval(value)
    return spec.model_copy(update=changes)


@pytest.mark.parametrize(
    ("count", "accelerator", "changes", "expected"),
    [
        # what was set to less than the default is put right first
        (
            4,
            "h100",
            {"gpu_memory_utilization": 0.3},
            (
                "gpu_memory_utilization = 0.9: fits 262144 tokens of context, with room for 445872",
                "accelerator_count = 8: fits 65536 tokens of context, with room for 116640",
            ),
        ),
        (
            2,
            "h100",
            {"max_num_batched_tokens": 131072},
            (
                "max_num_batched_tokens = 3072: fits 32768 tokens of context, with room for 45264",
                "accelerator_count = 4: fits 131072 tokens of context, with room for 266960",
            ),
        ),
        (
            8,
            "h100",
            {"tensor_parallel_size": 1},
            (
                "tensor_parallel_size = 2: fits 32768 tokens of context, with room for 46592",
                "tensor_parallel_size = 4: fits 262144 tokens of context, with room for 449488",
                "tensor_parallel_size = 8: fits 262144 tokens of context, with room for 1255280",
            ),
        ),
        (
            8,
            "h100",
            {"context_length": 262144, "engine_args": {"kv-cache-memory-bytes": "5G"}, "speculative": False},
            (
                "engine_args without 'kv-cache-memory-bytes': fits 262144 tokens of context, with room for 1243760",
                "context_length = 118784: fits, with room for 119152",
            ),
        ),
        # changes that are not enough alone are together
        (
            1,
            "mi300x",
            {"modality": "image", "speculative": True, "context_length": 131072},
            (
                'kv_cache_dtype = "fp8": fits 131072 tokens of context, with room for 234928',
                'modality = "text": fits 131072 tokens of context, with room for 131984',
                "context_length = 116736: fits, with room for 117456",
                "accelerator_count = 2: fits 131072 tokens of context, with room for 593824",
            ),
        ),
        (
            2,
            "h100",
            {"context_length": 262144},
            (
                "context_length = 45056: fits, with room for 45264",
                "accelerator_count = 4: fits 262144 tokens of context, with room for 447312",
            ),
        ),
        (
            1,
            "mi300x",
            {"modality": "image", "speculative": True, "context_length": 140000, "kv_cache_dtype": "auto"},
            (
                'kv_cache_dtype = "fp8": fits 140000 tokens of context, with room for 234928',
                'speculative = False and modality = "text": fits 140000 tokens of context, with room for 143632',
                "context_length = 116736: fits, with room for 117456",
                "accelerator_count = 2: fits 140000 tokens of context, with room for 593824",
            ),
        ),
        # nothing is told that brings nothing
        (1, "h200", {}, ("accelerator_count = 2: fits 262144 tokens of context, with room for 371616",)),
        (
            1,
            "h100",
            {"gpu_memory_utilization": 0.3},
            ("accelerator_count = 8: fits 65536 tokens of context, with room for 123040",),
        ),
    ],
)
def test_advice_comes_cheapest_first(
    count: int, accelerator: str, changes: dict[str, Any], expected: tuple[str, ...]
) -> None:
    assert advice(engine_spec(accelerator=accelerator, accelerator_count=count, **changes)) == expected


def test_the_draft_goes_before_more_accelerators() -> None:
    lines = advice(engine_spec(accelerator="h100", accelerator_count=2, context_length=40000, speculative=True))
    assert [line.partition(" = ")[0] for line in lines] == [
        "speculative",
        "kv_cache_dtype",
        "context_length",
        "accelerator_count",
    ]


SPECS = [
    engine_spec(accelerator=accelerator, accelerator_count=count, modality=modality, context_length=context, **more)
    for accelerator, count, modality, context in itertools.product(
        ACCELERATORS, COUNTS, ("text", "image"), (None, 1024, 40000, 131072, 262144)
    )
    for more in (
        {},
        {"speculative": False},
        {"kv_cache_dtype": "fp8"},
        {"gpu_memory_utilization": 0.8},
        {"gpu_memory_utilization": 0.8, "speculative": True},
        {"max_num_batched_tokens": 65536},
    )
]


def true_to_its_word(spec: EngineSpec) -> int:
    """How many pieces of advice were tried: each makes it fit, with at least the context and the room that it says."""
    lines = advice(spec)
    before = sizing.size(spec)
    for line in lines:
        wanted = changed(spec, line)
        settled = sizing.size(wanted)
        # Room is told for as many sequences and tokens of a step as are planned now; with others it is a little more or less.
        batch = {"max_num_seqs": wanted.max_num_seqs or before.sequences}
        if "max_num_batched_tokens" not in line:
            batch["max_num_batched_tokens"] = before.batched_tokens
        alike = sizing.size(wanted.model_copy(update=batch))
        assert settled.fit is not None
        assert alike.fit is not None
        told = re.search(r"fits(?: (\d+))?.*with room for (\d+)", line)
        assert told is not None, line
        context, room = told.groups()
        assert settled.fit.fits, (spec, line, settled)
        assert settled.context_length >= int(context or 0), (spec, line, settled)
        if (
            settled.draft is None and '"text"' not in line
        ):  # text has shorter steps, and auto may take a draft into the room
            assert alike.fit.kv_token_capacity == int(room)
            assert settled.fit.kv_token_capacity == pytest.approx(int(room), rel=0.15)
    return len(lines)


@pytest.mark.slow
def test_every_piece_of_advice_is_true() -> None:
    assert sum(true_to_its_word(spec) for spec in SPECS) > 500


@pytest.mark.parametrize(
    "spec",
    [
        # without the draft the memory share goes up to 0.90
        engine_spec(accelerator="h100", accelerator_count=2, context_length=40000, speculative=True),
        engine_spec(
            accelerator="mi300x", accelerator_count=1, modality="image", context_length=131072, speculative=True
        ),
        # both keys are set, so that both must change
        engine_spec(accelerator="h200", accelerator_count=1, tensor_parallel_size=1),
        # SGLang holds the vision tower whatever the modality
        engine_spec(engine="sglang", accelerator="h100", accelerator_count=2),
        engine_spec(engine="sglang", accelerator="h100", accelerator_count=2, modality="image"),
    ],
    ids=["draft h100", "draft mi300x", "tensor_parallel_size set", "sglang text", "sglang image"],
)
def test_advice_is_true_where_another_value_follows_from_it(spec: EngineSpec) -> None:
    assert true_to_its_word(spec)
