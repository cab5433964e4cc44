"""What is proposed after a tuning: the candidate with the most goodput, and constants for estimates."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from barewind.bench.document import Rung
from barewind.controller import controller
from barewind.estimate.host import runner_of, serving_of
from barewind.spec.site import HostEntry
from barewind.tune import proposal
from barewind.tune.document import Attempt, Constants, Tuning
from barewind.tune.fit import Sample, fit
from barewind.tune.plan import Candidate, Candidates, in_flight

MORE = 1.03  # times the goodput of what is planned: less is the scatter of a measurement


def tuning(entry: HostEntry, tried: Candidates, done: Sequence[Attempt], folder: Path) -> Tuning:
    """What comes of the attempts, the first of which, what is planned, was measured."""
    planned, spec = done[0], tried.kept[0].plan.spec
    measured = {attempt.name: _goodput(attempt) for attempt in done if attempt.failed is None}
    best = max(measured, key=lambda name: measured[name])
    gain = measured[best] / measured[planned.name]
    if gain < MORE:
        best, gain = planned.name, 1.0
    changes = next(attempt.changes for attempt in done if attempt.name == best)
    text, notes = proposal.diff(entry, changes, folder)
    if changes.get("kv_cache_dtype") == "fp8":
        notes.append(
            "these weights bring no scales for a KV cache in fp8: set accuracy_floor, so that the gate looks at answers"
        )
    constants = _constants(tried.kept, done)
    return Tuning(
        replica=spec.name,
        host=spec.host,
        in_flight=in_flight(spec),
        attempts=tuple(done),
        left_out=tried.left_out,
        best=best,
        gain_percent=round((gain - 1) * 100, 1),
        diff=text,
        notes=tuple(notes),
        constants=None if isinstance(constants, str) else constants,
        no_constants=constants if isinstance(constants, str) else None,
    )


def _goodput(attempt: Attempt) -> float:
    """With the most requests in flight: the load that the engine shall be good at."""
    return attempt.bench.rungs[-1].goodput if attempt.bench is not None else 0.0


def _constants(candidates: Sequence[Candidate], done: Sequence[Attempt]) -> Constants | str:
    accelerator = candidates[0].plan.spec.accelerator
    fitted = fit(accelerator, list(_samples(candidates, done)))
    if isinstance(fitted, str):
        return fitted
    error = max(1, math.ceil(fitted.error_percent))
    return Constants(
        accelerator=accelerator,
        layer_us=fitted.layer_us,
        prompt_share=fitted.prompt_share,
        error_percent=fitted.error_percent,
        before=fitted.before,
        entry=proposal.entry(accelerator, fitted, error, controller()),
    )


def _samples(candidates: Sequence[Candidate], done: Sequence[Attempt]) -> Iterator[Sample]:
    """The rungs of set-ups that the law knows; an option that it does not know is another engine."""
    for candidate, attempt in zip(candidates, done, strict=True):
        serving = serving_of(candidate.plan.spec, candidate.plan.sizing)
        if isinstance(serving, str) or attempt.bench is None or "engine_args" in candidate.changes:
            continue
        rungs: tuple[Rung, ...] = attempt.bench.rungs
        for rung in rungs:
            if rung.in_flight <= serving.at_a_time:  # of more, some wait
                yield Sample(
                    runner=runner_of(serving),
                    at_a_time=rung.in_flight,
                    prompt=attempt.bench.prompt,
                    output=attempt.bench.output,
                    ms_per_token=rung.ms_per_token,
                )
