"""The set-ups of a host: which there are, which of them fit and are not refused, and which is the best."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from barewind import catalog
from barewind.compare.document import Comparison, Objective, Setup
from barewind.engines.fit import Fit, kv_bytes_per_token
from barewind.engines.profile import EXPECTED
from barewind.engines.sizing import size
from barewind.engines.workload import Sizing
from barewind.estimate.host import estimate, serving_of
from barewind.estimate.layouts import others
from barewind.lock.file import Lock
from barewind.plan.checks import problems
from barewind.plan.engine import plan_host
from barewind.site.conflicts import conflicts
from barewind.spec.keys import EngineSpec


def compared(
    specs: Iterable[EngineSpec], locked: Lock, *, in_flight: int | None = None, objective: Objective = "throughput"
) -> list[Comparison]:
    """The set-ups of every kind of host, the kind with the best one first; `specs` has one of each host's engines.

    Estimates are for so many requests in flight on each host; None: as `expected_concurrency` says.

    Raises:
        BarewindError: a file of `engine_secrets` cannot be read, or others can read it.
    """
    kinds: dict[str, list[EngineSpec]] = {}
    for spec in specs:
        unnamed = {"host": "any", "groups": (), "address": "192.0.2.0", "replica": None, "engine_port": 1}
        kinds.setdefault(spec.model_copy(update=unnamed).model_dump_json(), []).append(spec)
    found = [
        _comparison(alike, locked, in_flight or alike[0].expected_concurrency or EXPECTED, objective)
        for alike in kinds.values()
    ]
    return sorted(found, key=lambda kind: _rank(kind.setups[0], objective) if kind.setups else (2,))


def candidates(spec: EngineSpec) -> Iterator[EngineSpec]:
    """A host's keys with every layout, draft, width of the cache and modality; what they ask for now is among them."""
    model = catalog.models()[spec.model]
    drafts: list[bool | int] = [False]
    if spec.draft or model.draft:
        drafts.append(spec.speculative if isinstance(spec.speculative, int) and spec.speculative else True)
    for layout in (spec, *others(spec)):
        for speculative in drafts:
            for cache in ("auto", "fp8"):
                for modality in model.modalities:
                    changes: dict[str, object] = {
                        "speculative": speculative,
                        "kv_cache_dtype": cache,
                        "modality": modality,
                    }
                    if modality == "text":
                        changes |= {"images_per_prompt": None, "image_domains": []}
                    yield layout.model_copy(update=changes)


def _comparison(alike: Sequence[EngineSpec], locked: Lock, in_flight: int, objective: Objective) -> Comparison:
    first = alike[0]
    planned = _key(first, size(first))
    seen: set[tuple[object, ...]] = set()
    setups: list[Setup] = []
    too_large = 0
    refused: Counter[str] = Counter()
    for spec in candidates(first):
        sizing = size(spec)
        key = _key(spec, sizing)
        if key in seen:  # engine_args, or the model, may leave no choice
            continue
        seen.add(key)
        against = [f"key '{name}': {sentence}" for name, sentence in conflicts(spec)]
        if sizing.fit is None:
            refused["without accelerators there is nothing to divide"] += 1
        elif not against and not sizing.fit.fits:
            too_large += 1
        elif against := against or problems(plan_host(spec, locked)):
            refused[against[0]] += 1
        else:
            setups.append(_setup(spec, sizing, sizing.fit, in_flight, planned=key == planned))
    return Comparison(
        hosts=tuple(spec.host for spec in alike),
        accelerator=first.accelerator,
        accelerators=first.accelerators_used,
        engine=first.engine,
        model=first.model,
        in_flight=in_flight,
        objective=objective,
        cost_per_hour=first.cost_per_hour,
        setups=tuple(sorted(setups, key=lambda setup: _rank(setup, objective))),
        too_large=too_large,
        refused=dict(refused),
    )


def _key(spec: EngineSpec, sizing: Sizing) -> tuple[object, ...]:
    """What makes a set-up another one."""
    cache = sizing.fit and sizing.fit.kv_bytes_per_token
    return (spec.replicas, spec.tensor_parallel, sizing.draft is not None, cache, spec.modality)


def _setup(spec: EngineSpec, sizing: Sizing, fit: Fit, in_flight: int, *, planned: bool) -> Setup:
    serving = serving_of(spec, sizing)
    told = None if isinstance(serving, str) else estimate(serving, in_flight)
    cost = None
    if told is not None and spec.cost_per_hour is not None:
        cost = round(spec.cost_per_hour / (told.tokens_per_second * 3600) * 1e6, 4)
    return Setup(
        planned=planned,
        replicas=spec.replicas,
        tensor_parallel=spec.tensor_parallel,
        draft=sizing.draft is not None,
        kv_cache="bf16" if fit.kv_bytes_per_token > kv_bytes_per_token(catalog.models()[spec.model], 1) else "fp8",
        modality=spec.modality,
        context_length=sizing.context_length,
        kv_tokens=fit.kv_token_capacity * fit.data_parallel * spec.replicas,
        sequences=fit.concurrent_sequences * spec.replicas,
        estimate=told,
        no_estimate=serving if isinstance(serving, str) else None,
        queued=None if isinstance(serving, str) else serving.waiting(in_flight),
        cost_per_million_tokens=cost,
    )


def _rank(setup: Setup, objective: Objective) -> tuple[float, ...]:
    """Less is better. Of equals the longer context is, then the larger cache; set-ups without an estimate come last."""
    holds = (-setup.context_length, -setup.kv_tokens)
    told = setup.estimate
    if told is None:
        return (1, *holds)
    by_rate = (-told.tokens_per_second, *holds)
    if objective == "latency":
        return (0, told.ms_per_token, *by_rate)
    if objective == "cost" and setup.cost_per_million_tokens is not None:
        return (0, setup.cost_per_million_tokens, *by_rate)
    if objective == "context":
        return (0, -setup.context_length, *by_rate)
    return (0, *by_rate)
