"""How fast a host will be with what is planned for it: all of its engines together, by the requests in flight."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from pydantic import Field

from barewind import catalog
from barewind.catalog import own
from barewind.catalog.entries import Part
from barewind.engines.fit import kv_bytes_per_token
from barewind.engines.profile import TOKENS
from barewind.engines.runner import runner, unknown
from barewind.engines.workload import Sizing
from barewind.spec.keys import EngineSpec
from barewind.speed.steady import first_token, steady_state
from barewind.speed.step import Runner

LOADS = (1, 8, 32, 128, 512)  # requests in flight on the host
PROMPTS = {"1k": 1024, "8k": 8192}  # tokens, of the time to the first token
FIRST_TOKEN_ERROR = 40  # percent: engines' schedulers differ more than accelerators do
_UNPUBLISHED_DRAFT = 30  # percent at least, with a draft on accelerators on which nobody has published a run with one


class Estimate(Part):
    """How fast a host is with so many requests in flight, all its engines together; what does not fit at a time waits."""

    in_flight: int = Field(description="requests in flight on the host, those that wait for their turn included")
    tokens_per_second: float = Field(description="tokens of answers a second, of all engines of the host")
    ms_per_token: float = Field(description="milliseconds from one token of an answer to the next")
    error_percent: int = Field(description="how far both may be off, by what is published of this hardware")


@dataclass(frozen=True)
class Serving:
    """What decides how fast a host's engines serve, which are all alike.

    + count: engines that share the requests
    + at_a_time: requests that one of them runs at a time; the others wait
    + tokens: of a prompt, and of its answer
    + context_length: tokens of the longest prompt
    + error_percent: how far off estimates may be
    """

    model: str
    accelerator: str
    tensor_parallel: int
    kv_bytes: int
    drafting: bool
    count: int
    at_a_time: int
    tokens: int
    context_length: int
    error_percent: int

    @property
    def together(self) -> int:
        """Requests that the host runs at a time."""
        return self.count * self.at_a_time

    def waiting(self, in_flight: int) -> int:
        """How many of so many requests wait for others to end."""
        return max(0, in_flight - self.together)


def serving_of(spec: EngineSpec, sizing: Sizing) -> Serving | str:
    """What decides how fast a host is; or, where nothing is known of that, a sentence that says of what."""
    if why := unknown(spec, sizing.draft, sizing.draft_tokens):
        return why
    if sizing.fit is None or sizing.sequences is None or not sizing.fit.fits:
        return "it does not fit"
    fit, model = sizing.fit, catalog.models()[spec.model]
    tokens = min(TOKENS, sizing.context_length // 2)
    return Serving(
        model=spec.model,
        accelerator=spec.accelerator,
        tensor_parallel=spec.tensor_parallel,
        kv_bytes=fit.kv_bytes_per_token // kv_bytes_per_token(model, 1),
        drafting=sizing.draft is not None,
        count=spec.replicas * fit.data_parallel,
        at_a_time=min(sizing.sequences, fit.kv_token_capacity // (2 * tokens)),
        tokens=tokens,
        context_length=sizing.context_length,
        error_percent=_error(spec, sizing),
    )


def estimate(serving: Serving, in_flight: int) -> Estimate:
    """How fast the host is with so many requests in flight, spread evenly over its engines."""
    return _estimate(serving, in_flight, own.state())


def estimates(serving: Serving | str) -> tuple[Estimate, ...]:
    """How fast the host is at each of the loads; empty where nothing is known."""
    return () if isinstance(serving, str) else tuple(estimate(serving, load) for load in LOADS)


def first_tokens(serving: Serving) -> dict[str, float]:
    """Seconds to the first token of prompts of usual lengths that the context takes, on an engine that does nothing else."""
    law = _runner(serving)
    return {name: first_token(law, tokens) for name, tokens in PROMPTS.items() if tokens < serving.context_length}


@lru_cache(maxsize=16384)
def _estimate(serving: Serving, in_flight: int, _: str) -> Estimate:
    """Hosts that are alike are worked out once, as the catalog stands."""
    law = _runner(serving)
    least, more = divmod(in_flight, serving.count)  # engines with one request more than the others
    rate = weighted = running = 0.0
    for count, each in ((more, least + 1), (serving.count - more, least)):
        at_a_time = min(each, serving.at_a_time)
        if count and at_a_time:
            steady = steady_state(law, at_a_time, prompt=serving.tokens, output=serving.tokens)
            rate += count * steady.tokens_per_second
            weighted += count * at_a_time * steady.per_token
            running += count * at_a_time
    return Estimate(
        in_flight=in_flight,
        tokens_per_second=round(rate, 1),
        ms_per_token=round(weighted / running * 1000, 2),
        error_percent=serving.error_percent,
    )


def _error(spec: EngineSpec, sizing: Sizing) -> int:
    own_error = catalog.speeds()[spec.accelerator].error_percent
    published = catalog.accelerators()[spec.accelerator].vendor in catalog.engines()[spec.engine].drafts_on
    return own_error if sizing.draft is None or published else max(own_error, _UNPUBLISHED_DRAFT)


def _runner(serving: Serving) -> Runner:
    return runner(
        serving.model, serving.accelerator, serving.tensor_parallel, serving.kv_bytes, drafting=serving.drafting
    )
