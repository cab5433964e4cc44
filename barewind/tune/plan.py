"""What a tuner tries: the planned settings, and others that may do more; which of them the estimate leaves out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from barewind import catalog
from barewind.engines import ENGINES, options
from barewind.engines import image as engine_image
from barewind.engines.profile import EXPECTED
from barewind.estimate.host import estimate, serving_of
from barewind.lock.file import Lock
from barewind.plan.checks import problems
from barewind.plan.engine import EnginePlan, plan_host
from barewind.spec.keys import EngineSpec

MOST = 8  # candidates: each is a start of the engine, minutes of it on a real host
PLANNED = "as planned"

_BATCHED = (2.0, 0.5)  # times the planned tokens of a step
_SEQUENCES = (2.0,)  # times the planned sequences
_FLOOR = 0.95  # times the planned settings' estimate: what the law is off is the same for all set-ups of one hardware, or nearly


@dataclass(frozen=True)
class Candidate:
    """Settings to be tried: keys of group data that differ from the planned ones, and the plan that follows.

    + estimated: tokens per second, by the estimate, of this engine with the expected load; None where nothing is known
    """

    name: str
    changes: Mapping[str, Any]
    plan: EnginePlan
    estimated: float | None = None


@dataclass(frozen=True)
class Candidates:
    """Those to be tried, the planned one first, and why others are not."""

    kept: tuple[Candidate, ...]
    left_out: tuple[str, ...] = field(default=())


def in_flight(spec: EngineSpec) -> int:
    """Requests in flight that one engine of a host shall be good at."""
    return max(1, (spec.expected_concurrency or EXPECTED) // spec.replicas)


def ladder(expected: int) -> tuple[int, ...]:
    """The three rungs of each candidate: alone, with a quarter of the expected load, with all of it."""
    return tuple(sorted({1, max(2, expected // 4), max(3, expected)}))


def candidates(plan: EnginePlan, locked: Lock, *, most: int = MOST) -> Candidates:
    """What is to be tried on an engine, at most so many; what its host lacks weights for is left out.

    The estimate prunes: who is estimated lower than the planned settings by more than estimates may be off relative to each
    other is left out, and the highest estimates come first. Settings of which the estimate knows nothing come behind the
    planned ones, in the order below, since a measurement alone can tell.
    """
    expected = in_flight(plan.spec)
    planned = Candidate(PLANNED, {}, plan, _estimated(plan, expected))
    found: list[Candidate] = []
    left_out: list[str] = []
    releases = {plan.release}
    for name, changes in _variations(plan):
        other = plan_host(plan.spec.model_copy(update=dict(changes)), locked)
        if why := _unfit(other, plan):
            left_out.append(f"{name}: {why}")
        elif other.release not in releases:  # else engine_args decide it
            releases.add(other.release)
            found.append(Candidate(name, changes, other, _estimated(other, expected)))
    kept, slower = _pruned(planned, found)
    left_out += [
        f"{each.name}: estimated at {each.estimated:.0f} tokens/s, planned at {planned.estimated:.0f}"
        for each in slower
    ]
    left_out += [f"{each.name}: {most} candidates are enough" for each in kept[most - 1 :]]
    return Candidates((planned, *kept[: most - 1]), tuple(left_out))


def _pruned(planned: Candidate, found: list[Candidate]) -> tuple[list[Candidate], list[Candidate]]:
    """Those that may do more than what is planned, the likeliest first; those that may not."""
    floor = planned.estimated
    if floor is None:
        return found, []
    slower = [each for each in found if each.estimated is not None and each.estimated < floor * _FLOOR]
    kept = [each for each in found if each not in slower]
    return sorted(kept, key=lambda each: -(each.estimated or 0)), slower


def _variations(plan: EnginePlan) -> Iterator[tuple[str, dict[str, Any]]]:
    """Changes of keys, each with its name."""
    spec, sizing, model = plan.spec, plan.sizing, catalog.models()[plan.spec.model]
    for option, value in _alternatives(spec):
        yield f"{option} {value}", {"engine_args": {**spec.engine_args, option: value}}
    draft: dict[str, Any] = {"speculative": sizing.draft is None}
    if model.draft or spec.draft:
        yield "with draft" if sizing.draft is None else "without draft", draft
    cache = {"kv_cache_dtype": "fp8" if spec.kv_cache_dtype == "auto" and model.kv_cache_dtype != "fp8" else "auto"}
    if sizing.fit is not None:
        yield f"kv_cache_dtype {cache['kv_cache_dtype']}", cache
        if model.draft or spec.draft:
            yield (
                f"kv_cache_dtype {cache['kv_cache_dtype']}, {'with' if sizing.draft is None else 'without'} draft",
                cache | draft,
            )
    queue = sizing.sequences is not None and in_flight(spec) > sizing.sequences
    for key, planned, factors in (
        ("max_num_batched_tokens", sizing.batched_tokens, _BATCHED),
        ("max_num_seqs", sizing.sequences, _SEQUENCES if queue else ()),
    ):
        for factor in factors if planned else ():
            number = int((planned or 0) * factor)
            yield f"{key} {number}", {key: number}


def _alternatives(spec: EngineSpec) -> Iterator[tuple[str, str]]:
    """Options that may be faster on these accelerators, as far as the engine's recorded command line has them."""
    engine = ENGINES[spec.engine]
    schema = options.nearest(spec.engine, engine_image.version(spec))
    for option, value in engine.alternatives.get(catalog.accelerators()[spec.accelerator].vendor, {}).items():
        known = schema is not None and f"--{option}" in schema.by_name
        if known and option not in spec.engine_args:
            yield option, value


def _unfit(other: EnginePlan, plan: EnginePlan) -> str:
    """Why a set-up cannot be tried on the host of a plan; empty if it can."""
    if found := problems(other):
        return found[0]
    if other.release is None or not set(other.directories) <= set(plan.directories):
        return "its host lacks the weights; lock and deploy it with them first"
    if other.sizing.context_length < plan.sizing.context_length:
        return f"its context would be {other.sizing.context_length} tokens instead of {plan.sizing.context_length}"
    return ""


def _estimated(plan: EnginePlan, expected: int) -> float | None:
    serving = serving_of(plan.spec, plan.sizing)
    if isinstance(serving, str):
        return None
    return estimate(serving, expected * plan.spec.replicas).tokens_per_second / plan.spec.replicas
