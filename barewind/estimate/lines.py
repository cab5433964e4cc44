"""What `barewind plan` says of a host's speed: three lines."""

from __future__ import annotations

from collections.abc import Iterator

from barewind import catalog
from barewind.engines.workload import Sizing
from barewind.estimate.host import FIRST_TOKEN_ERROR, LOADS, Serving, estimates, first_tokens, serving_of
from barewind.estimate.layouts import Better, better
from barewind.spec.keys import EngineSpec


def lines(spec: EngineSpec, sizing: Sizing) -> Iterator[str]:
    """The lines about a host's speed; where nothing is known of it, one that says so."""
    serving = serving_of(spec, sizing)
    if isinstance(serving, str):
        yield f"speed   no estimate: {serving}"
        return
    yield f"speed   {_loads(serving)}"
    yield f"within  {_trust(serving)}"
    yield f"layout  {_better(serving, better(spec, serving))}"


def _loads(serving: Serving) -> str:
    parts: list[str] = []
    for told in estimates(serving):
        rate, milliseconds = f"{told.tokens_per_second:.0f}", f"{told.ms_per_token:.1f}"
        if not parts:
            parts.append(f"{rate} tokens/s of the host with 1 request in flight ({milliseconds} ms per token)")
            continue
        queue = f"; {serving.waiting(told.in_flight)} queue" if serving.waiting(told.in_flight) else ""
        parts.append(f"{rate} with {told.in_flight} ({milliseconds}{queue})")
    return f"{', '.join(parts)}; prompts and answers of {serving.tokens} tokens"


def _trust(serving: Serving) -> str:
    firsts = [f"{seconds:.2f} s for a prompt of {name} tokens" for name, seconds in first_tokens(serving).items()]
    measured = "yes" if catalog.speeds()[serving.accelerator].measured else "no"
    return (
        f"{serving.error_percent} %; the first token within {FIRST_TOKEN_ERROR} %: {', '.join(firsts)}, where no "
        f"other is before it; measured on this hardware: {measured}"
    )


def _better(planned: Serving, found: list[Better] | None) -> str:
    if found is None:
        return "no other number of replicas fits"
    if not found:
        return f"no other number of replicas does more, with up to {LOADS[-1]} in flight"
    return "; ".join(_told(planned, layout) for layout in found)


def _told(planned: Serving, layout: Better) -> str:
    shorter = "" if layout.context_length == planned.context_length else f", {layout.context_length} tokens of context"
    between = (
        f"from {layout.first} in flight on"
        if layout.last is None
        else f"with {layout.first} to {layout.last} in flight"
    )
    return (
        f"replicas = {layout.replicas} (tensor parallel {layout.tensor_parallel}{shorter}) does more {between}: "
        f"{layout.tokens_per_second:.0f} instead of {layout.planned:.0f} tokens/s with {layout.in_flight}"
    )
