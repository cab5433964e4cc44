"""Which number of engines on a host does more, and from which load on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from barewind import catalog
from barewind.engines.counted import counted
from barewind.engines.sizing import size
from barewind.estimate.host import Serving, estimate, serving_of
from barewind.spec.keys import EngineSpec

# Requests in flight at which layouts are compared.
_GRID = (1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
MORE = 1.02  # times as many tokens per second: less is no reason to change a layout


@dataclass(frozen=True)
class Better:
    """A layout that does more than the planned one: between which loads, and both tokens per second at one of them."""

    replicas: int
    tensor_parallel: int
    context_length: int
    first: int
    last: int | None  # None: with all that is more, too
    in_flight: int
    tokens_per_second: float
    planned: float


def others(spec: EngineSpec) -> Iterator[EngineSpec]:
    """A host's keys with each number of replicas that comes out even, over all of its accelerators; its own as well."""
    shape = catalog.models()[spec.model].shape
    side_by_side = counted(spec.engine, spec.engine_args).data_parallel
    for replicas in range(1, spec.accelerators_used + 1):
        each, rest = divmod(spec.accelerators_used, replicas * side_by_side)
        if rest or shape.heads % each or (shape.kv_heads % each and each % shape.kv_heads):
            continue
        yield spec.model_copy(
            update={
                "replicas": replicas,
                "replica": None if replicas == 1 else 0,
                "tensor_parallel_size": None if side_by_side == 1 else each,
            }
        )


def better(spec: EngineSpec, planned: Serving) -> list[Better] | None:
    """The layouts that do most, load by load, where they do more than the planned one; None if no other one fits."""
    layouts: list[Serving] = []
    for other in others(spec):
        serving = serving_of(other, size(other))
        if isinstance(serving, Serving) and serving.count != planned.count:
            layouts.append(serving)
    if not layouts:
        return None
    winners = [_winner(layouts, planned, load) for load in _GRID]
    found: list[Better] = []
    for place, winner in enumerate(winners):
        if winner is None or (place and winners[place - 1] == winner):
            continue
        end = place
        while end + 1 < len(winners) and winners[end + 1] == winner:
            end += 1
        if end == place and end + 1 < len(winners):
            continue  # too small a range to choose a layout for
        load = _GRID[end]
        found.append(
            Better(
                replicas=winner.count * spec.replicas // planned.count,
                tensor_parallel=winner.tensor_parallel,
                context_length=winner.context_length,
                first=_GRID[place],
                last=None if end + 1 == len(winners) else load,
                in_flight=load,
                tokens_per_second=estimate(winner, load).tokens_per_second,
                planned=estimate(planned, load).tokens_per_second,
            )
        )
    return found


def _winner(layouts: list[Serving], planned: Serving, load: int) -> Serving | None:
    """The layout that does most at a load; None if none does notably more than the planned one."""
    best = max(layouts, key=lambda serving: estimate(serving, load).tokens_per_second)
    enough = estimate(planned, load).tokens_per_second * MORE
    return best if estimate(best, load).tokens_per_second > enough else None
