"""What a bench does: requests in flight, lengths, when it has seen enough, and what is wrong with what was asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from barewind.bench.document import Rung
from barewind.engines import ENGINES
from barewind.plan.engine import EnginePlan

MOST_IN_FLIGHT = 4096
MOST_REQUESTS = 100_000  # of a rung
MOST_RUNGS = 16
FALLS = 0.97  # times the best goodput so far: less is no scatter of the measurement any more


@dataclass(frozen=True)
class Course:
    """The rungs of a bench, each a number of requests in flight.

    + prompt, output: tokens of each prompt, of each answer
    + requests: of a rung; None: `rounds` times as many as are in flight
    + tpot_limit: milliseconds per token within which a request counts as goodput; None: each does
    """

    preset: str
    ladder: tuple[int, ...]
    prompt: int
    output: int
    requests: int | None = None
    rounds: int = 4
    tpot_limit: float | None = None

    def requests_of(self, in_flight: int) -> int:
        """How many requests a rung has: so many as are in flight at the least."""
        return max(in_flight, self.requests or self.rounds * in_flight)


PRESETS = {
    course.preset: course
    for course in (
        # The published table of MI300X: 100 requests, 32 at a time (the recipe of Mistral Medium 3.5).
        Course("recipe", (32,), 1024, 1024, requests=100),
        Course("ladder", (1, 8, 32, 64, 128, 256, 512), 1024, 1024),
        Course("quick", (1, 8, 32), 256, 128),
        Course("prompts", (1, 4, 16, 64), 8192, 128),
    )
}


def course(
    preset: str,
    *,
    ladder: Sequence[int] | None = None,
    prompt: int | None = None,
    output: int | None = None,
    requests: int | None = None,
    tpot_limit: float | None = None,
) -> Course:
    """A preset, with what is asked for instead of its own."""
    own = PRESETS[preset]
    return replace(
        own,
        ladder=tuple(ladder or own.ladder),
        prompt=prompt or own.prompt,
        output=output or own.output,
        requests=requests or own.requests,
        tpot_limit=tpot_limit,
    )


def problems(wanted: Course, plans: Sequence[EnginePlan]) -> Iterator[str]:
    """What is wrong with a course for these engines, each with the next step."""
    rungs = wanted.ladder
    if list(rungs) != sorted(set(rungs)):
        yield f"--ladder {_listed(rungs)}: each rung is to have more requests in flight than the one before; put them in order"
    if len(rungs) > MOST_RUNGS:
        yield f"--ladder: {len(rungs)} rungs; {MOST_RUNGS} at most"
    if wrong := [rung for rung in rungs if not 1 <= rung <= MOST_IN_FLIGHT]:
        yield f"--ladder {_listed(wrong)}: 1 to {MOST_IN_FLIGHT} requests in flight"
    if max(map(wanted.requests_of, rungs)) > MOST_REQUESTS:
        yield f"a rung of {max(map(wanted.requests_of, rungs))} requests; {MOST_REQUESTS} at most: give fewer with --requests"
    for plan in plans:
        context, tokens = plan.sizing.context_length, wanted.prompt + wanted.output
        if tokens > context:
            yield (
                f"{plan.name}: {wanted.prompt} tokens of prompt and {wanted.output} of answer are more than its context of "
                f"{context}; give less with --input and --output"
            )
        if ENGINES[plan.spec.engine].generator is None:
            yield f"{plan.name}: the images of {plan.spec.engine} bring no load generator; bench it with a tool of your own"


def shares(in_flight: int, count: int) -> list[int]:
    """How many of so many requests each of the engines gets at a time, spread evenly; the first ones one more."""
    least, more = divmod(in_flight, count)
    return [least + (number < more) for number in range(count)]


def enough(rungs: Sequence[Rung]) -> str:
    """Why no further rung is needed; empty where one is: with more in flight goodput falls, and only waiting grows."""
    if len(rungs) < 2:
        return ""
    best = max(rungs[:-1], key=lambda rung: rung.goodput)
    last = rungs[-1]
    if last.goodput >= best.goodput * FALLS:
        return ""
    return f"goodput falls: {last.goodput:.0f} tokens/s with {last.in_flight} in flight, {best.goodput:.0f} with {best.in_flight}"


def _listed(numbers: Sequence[int]) -> str:
    return ",".join(map(str, numbers))
