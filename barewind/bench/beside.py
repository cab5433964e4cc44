"""What stands beside a measurement: the estimate of the plan, and what others have published."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from barewind import catalog
from barewind.bench.document import Published
from barewind.estimate.host import Estimate, Serving, estimate, serving_of
from barewind.plan.engine import EnginePlan


def serving(plans: Sequence[EnginePlan], prompt: int, output: int) -> Serving | str:
    """What decides how fast these engines are, some or all of a host's; or why nothing is known of that."""
    if len({plan.release for plan in plans}) > 1:
        return "the engines do not serve the same"
    plan = plans[0]
    whole = serving_of(plan.spec, plan.sizing)
    if isinstance(whole, str):
        return whole
    if prompt != output:
        return "estimates are for prompts and answers of one length"
    return replace(whole, count=whole.count // plan.spec.replicas * len(plans), tokens=prompt)


def estimated(known: Serving | str, in_flight: int) -> Estimate | None:
    """The estimate for so many requests in flight; None where nothing is known."""
    return None if isinstance(known, str) else estimate(known, in_flight)


def published(plan: EnginePlan, in_flight: int, prompt: int, output: int) -> Published | None:
    """The published run of one engine like this one, with such a load."""
    spec = plan.spec
    wanted = (spec.model, spec.accelerator, spec.tensor_parallel, plan.sizing.draft is not None)
    for run in catalog.published():
        same = (run.model, run.hardware, run.accelerators, run.draft) == wanted
        if same and (run.at_a_time, run.prompt, run.output) == (in_flight, prompt, output):
            return Published(source=run.source, **run.published.model_dump())
    return None
