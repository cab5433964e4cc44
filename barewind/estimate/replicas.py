"""How many engines a host gets where group data leaves that open (`replicas = "auto"`): those that its profile is best with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from barewind.engines.sizing import in_flight_of, keeping_to_limit, size
from barewind.engines.workload import Sizing
from barewind.estimate.host import Estimate, Serving, estimate, serving_of
from barewind.estimate.layouts import MORE
from barewind.spec.keys import EngineSpec


@dataclass(frozen=True)
class _Layout:
    spec: EngineSpec
    sizing: Sizing
    estimate: Estimate | None  # None where nothing is known of the hardware


def choice(layouts: Iterable[EngineSpec]) -> tuple[int, str] | None:
    """The number of replicas among a host's layouts, and why; None where there is no layout.

    Context comes first, as everywhere: only layouts with the longest one are compared. More engines must do notably more, for
    with fewer a single request is faster. It goes by group data and catalog alone, so that the next run chooses the same.
    """
    found = [_layout(spec) for spec in layouts]
    if not found:
        return None
    fitting = [layout for layout in found if layout.sizing.fit and layout.sizing.fit.fits]
    if not fitting:
        return found[0].spec.replicas, "as few as can be: no number of engines fits"
    longest = max(layout.sizing.context_length for layout in fitting)
    fitting = [layout for layout in fitting if layout.sizing.context_length == longest]
    first = fitting[0]
    if first.spec.profile == "recipe":
        return first.spec.replicas, "a published command is that of one engine"
    if len(fitting) == 1:
        return first.spec.replicas, f"no other number fits {longest} tokens of context"
    estimates = [layout.estimate for layout in fitting if layout.estimate is not None]
    if len(estimates) < len(fitting):
        return first.spec.replicas, f"as few as can be: nothing is known of how fast {first.spec.accelerator} is"
    keeping = [layout for layout in fitting if keeping_to_limit(layout.spec, layout.sizing) != 0]
    return _best(keeping or fitting)


def _layout(spec: EngineSpec) -> _Layout:
    settled = size(spec)
    serving = serving_of(spec, settled)
    if not isinstance(serving, Serving):
        return _Layout(spec, settled, None)
    return _Layout(spec, settled, estimate(serving, in_flight_of(spec) or serving.together))


def _best(layouts: Sequence[_Layout]) -> tuple[int, str]:
    """The layout that its profile is best with; the first, with the fewest engines, unless another is notably better."""
    best = layouts[0]
    for layout in layouts[1:]:
        if _merit(layout) > _merit(best) * MORE:
            best = layout
    others = "".join(f", with {layout.spec.replicas} {_figure(layout)}" for layout in layouts if layout is not best)
    load = in_flight_of(best.spec)
    flying = "on a full host" if load is None else f"with {load} in flight on the host"
    return best.spec.replicas, f"best for {best.spec.profile} {flying}: {_figure(best)}{others} (estimate)"


def _merit(layout: _Layout) -> float:
    """More is better: tokens per second, or how soon a token comes."""
    assert layout.estimate is not None  # noqa: S101 - all are known
    return 1 / layout.estimate.ms_per_token if layout.spec.profile == "latency" else layout.estimate.tokens_per_second


def _figure(layout: _Layout) -> str:
    assert layout.estimate is not None  # noqa: S101 - all are known
    told = layout.estimate
    return (
        f"{told.ms_per_token:.1f} ms per token"
        if layout.spec.profile == "latency"
        else f"{told.tokens_per_second:.0f} tokens/s"
    )
