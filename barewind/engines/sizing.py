"""Settles what a spec leaves open, by what fits and by its profile: context, draft or not, share of the memory, batch sizes.

What a user sets is kept, whether it fits or not: then the plan says so. What is left open gets the largest context that
fits, and with it the draft head if that fits too: context first, for a request that is refused helps nobody.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from math import ceil

from barewind import catalog
from barewind.catalog import Recipe, own
from barewind.catalog.option_classes import option_classes
from barewind.engines import ENGINES
from barewind.engines.advice import Defaults, SetUp, advice
from barewind.engines.candidate import (
    SEQUENCES,
    UTILIZATION,
    candidate,
    cap,
    comfortable,
    contexts,
    draft_of,
    draft_tokens,
    law,
    profile_of,
    with_engine_args,
)
from barewind.engines.command import spelled
from barewind.engines.fit import Fit
from barewind.engines.image import version
from barewind.engines.profile import (
    EXPECTED,
    LEAST_AT_A_TIME,
    MOST_SEQUENCES,
    TOKENS,
    sequence_counts,
    step_tokens,
    within,
    worth_drafting,
)
from barewind.engines.workload import Sizing
from barewind.spec.keys import EngineSpec
from barewind.versions import older


def size(spec: EngineSpec) -> Sizing:
    """The values that a host's spec sets, and for those that it leaves open the ones that fit."""
    anonymous = {"host": "any", "groups": (), "address": "192.0.2.0", "replica": None, "engine_port": 1}
    text = spec.model_copy(update={**anonymous, "replicas_chosen": ""}).model_dump_json()
    return _size(text, own.state())


@lru_cache(maxsize=4096)
def _size(text: str, _: str) -> Sizing:
    """`text` is the spec as JSON, without what names the host: hosts that are alike are settled once, as the catalog stands."""
    spec = with_engine_args(EngineSpec.model_validate_json(text, strict=False))
    model = catalog.models()[spec.model]
    if catalog.accelerators()[spec.accelerator].is_cpu:
        draft = draft_of(spec) if spec.speculative is not False else None
        return Sizing(
            context_length=spec.context_length or model.context_length,
            draft=draft,
            draft_tokens=draft_tokens(spec),
            utilization=None,
            batched_tokens=spec.max_num_batched_tokens,
            sequences=spec.max_num_seqs,
            extra={},
            fit=None,
        )
    recipe = recipe_of(spec)
    settled, setup = _settled(spec) if recipe is None else _published(spec, recipe)
    if settled.fit is None or settled.fit.fits:
        return _with_sequences(spec, settled) if recipe is None else settled
    return replace(settled, fit=replace(settled.fit, advice=advice(setup, _defaults(spec))))


def _settled(spec: EngineSpec) -> tuple[Sizing, SetUp]:
    """Context and draft: context first, then the draft if the load is one that it pays for and the context is no shorter."""
    draft = draft_of(spec)
    if spec.speculative != "auto":
        return _longest(spec, draft if spec.speculative is not False else None)
    plain = _longest(spec, None)
    if draft is None or not plain[0].fit or not plain[0].fit.fits:
        return plain
    worth, why = _worth_drafting(spec, draft, plain[0], plain[0].fit)
    if worth:
        drafting, setup = _longest(spec, draft)
        fits = drafting.fit is not None and drafting.fit.fits and comfortable(spec, drafting)
        if fits and plain[0].context_length <= drafting.context_length <= cap(spec, draft):
            return replace(drafting, reasons=drafting.reasons | {"speculative": why}), setup
        why = "a draft does not fit beside the context"
    return replace(plain[0], reasons=plain[0].reasons | {"speculative": why}), plain[1]


def recipe_of(spec: EngineSpec) -> Recipe | None:
    """The published command that a host's profile asks for; None with another profile, or where nobody has published one."""
    if spec.profile != "recipe":
        return None
    vendor = catalog.accelerators()[spec.accelerator].vendor
    return catalog.engines()[spec.engine].recipe(spec.model, vendor)


def _published(spec: EngineSpec, recipe: Recipe) -> tuple[Sizing, SetUp]:
    """The published command, as far as no key says otherwise; what neither says is the engine's own, which the fit goes by."""
    untold = ENGINES[spec.engine].untold(catalog.accelerators()[spec.accelerator])
    defaults: dict[str, float] = {
        "context_length": catalog.models()[spec.model].context_length,
        "gpu_memory_utilization": untold.utilization,
        "max_num_seqs": untold.sequences,
        "max_num_batched_tokens": untold.batched_tokens,
    }
    known = defaults | dict(recipe.keys)
    open_keys = {key for key in defaults if getattr(spec, key) is None}
    draft = draft_of(spec) if spec.speculative not in (False, "auto") else None
    context = int(spec.context_length or known["context_length"])
    if context > cap(spec, draft):  # it is known not to start without other values
        open_keys -= {"context_length", "gpu_memory_utilization"}
    spec = spec.model_copy(update={key: known[key] for key in open_keys})
    settled, setup = candidate(spec, context, draft)
    return replace(
        settled,
        extra=settled.extra | recipe.options,
        left_open=frozenset(open_keys - recipe.keys.keys()),
        reasons=dict.fromkeys(recipe.keys, "the published command"),
    ), setup


def _longest(spec: EngineSpec, draft: str | None) -> tuple[Sizing, SetUp]:
    """The longest context that fits with a draft, or without; what a user sets needs no margin, nor does the least of all."""
    settled = [candidate(spec, context, draft) for context in contexts(spec)]
    fitting = [one for one in settled if one[0].fit and one[0].fit.fits]
    roomy = [one for one in fitting if comfortable(spec, one[0])]
    return max(roomy, key=lambda one: one[0].context_length, default=(fitting or settled)[-1])


def _worth_drafting(spec: EngineSpec, draft: str, plain: Sizing, fit: Fit) -> tuple[bool, str]:
    """Whether a draft that nobody has asked for is worth it, and why."""
    release, entry = version(spec), catalog.engines()[spec.engine]
    vendor = catalog.accelerators()[spec.accelerator].vendor
    if vendor not in entry.drafts_on:
        return False, f"nobody has published a run with a draft on {vendor}"
    if release is not None and older(release, entry.draft_floor):
        return False, f"{spec.engine} drafts from {entry.draft_floor} on"
    most = keeping_to_limit(spec, plain) or MOST_SEQUENCES
    at_a_time = max(1, min(_in_flight(spec, fit), fit.kv_token_capacity // (2 * TOKENS), most))
    return worth_drafting(law(spec, None), law(spec, draft), profile_of(spec), at_a_time)


def in_flight_of(spec: EngineSpec) -> int | None:
    """Requests in flight on the host that its profile goes by; None for a full host, or a published command."""
    if spec.profile == "recipe" or (spec.profile == "throughput" and spec.expected_concurrency is None):
        return None
    return spec.expected_concurrency or EXPECTED


def _in_flight(spec: EngineSpec, fit: Fit) -> int:
    """The same on an engine."""
    on_host = in_flight_of(spec)
    return MOST_SEQUENCES if on_host is None else ceil(on_host / (spec.replicas * fit.data_parallel))


def _with_sequences(spec: EngineSpec, settled: Sizing) -> Sizing:
    """As many sequences at a time as the cache holds: more than usual take memory themselves, which must not cost the context."""
    if spec.max_num_seqs is not None or settled.fit is None or settled.batched_tokens is None:
        return settled
    rows = 1 + (settled.draft_tokens if settled.draft else 0)
    most, reason = _most_sequences(spec, settled, settled.fit)
    limits = {"batched_tokens": settled.batched_tokens, "rows": rows, "most": most}
    for count in sequence_counts(settled.fit.kv_token_capacity, settled.context_length, **limits):
        more, _ = candidate(spec, settled.context_length, settled.draft, count)
        assert more.fit is not None  # noqa: S101 - there are accelerators
        holds = next(sequence_counts(more.fit.kv_token_capacity, settled.context_length, **limits)) >= count
        if count <= SEQUENCES or (more.fit.fits and holds and comfortable(spec, more)):
            return replace(more, reasons=settled.reasons | {"max_num_seqs": reason})
    return settled


def _most_sequences(spec: EngineSpec, settled: Sizing, fit: Fit) -> tuple[int, str]:
    """How many sequences at a time profile and `tpot_limit` allow, and why; the cache may hold fewer."""
    most = MOST_SEQUENCES
    reason = f"as many requests of {2 * TOKENS} tokens as its cache holds, {MOST_SEQUENCES} at most"
    if spec.profile == "latency":
        expected = _in_flight(spec, fit)
        most = max(LEAST_AT_A_TIME, 2 * expected)
        reason = f"twice the {expected} that are expected: more wait instead of slowing all"
    if (keeping := keeping_to_limit(spec, settled)) and keeping < most:
        most, reason = keeping, f"as many as keep to {spec.tpot_limit:g} ms per token, tpot_limit (estimate)"
    return most, reason


def keeping_to_limit(spec: EngineSpec, settled: Sizing) -> int | None:
    """The most requests that an engine runs at a time within `tpot_limit`: 0 where one takes longer; None: nothing is known."""
    engine = law(spec, settled.draft)
    if spec.tpot_limit is None or engine is None:
        return None
    return within(engine, spec.tpot_limit, min(TOKENS, settled.context_length // 2))


def _defaults(spec: EngineSpec) -> Defaults:
    """What the spec sets to less than the default."""
    usual, _ = step_tokens(law(spec, None), profile_of(spec), images=spec.modality == "image")
    meanings = option_classes(spec.engine).counted
    capping = [name for name in spec.engine_args if meanings.get(spelled(name), "").startswith("kv_")]
    return Defaults(
        utilization=UTILIZATION if (spec.gpu_memory_utilization or UTILIZATION) < UTILIZATION else None,
        utilization_without_draft=None if spec.gpu_memory_utilization else UTILIZATION,
        batched_tokens=usual if (spec.max_num_batched_tokens or 0) > usual else None,
        sequences=SEQUENCES if (spec.max_num_seqs or 0) > SEQUENCES else None,
        explicit_parallel=spec.tensor_parallel_size is not None,
        capped_by=tuple(capping),
    )
