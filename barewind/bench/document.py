"""A bench as `barewind bench --json` prints it, and as a host keeps it. docs/bench.schema.json is made of these models."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from barewind.catalog.entries import Part
from barewind.estimate.host import Estimate


class Published(Part):
    """What others have measured with the same model, hardware and load; seconds to the first token."""

    source: str
    tokens_per_second: float
    ms_per_token: float | None
    first_token: float | None


class Rung(Part):
    """What was measured with a number of requests in flight. Times are means, and below them 99 of 100 requests."""

    in_flight: int = Field(description="requests in flight, over all engines of the bench")
    requests: int = Field(description="requests that were answered")
    prompt_tokens: int = Field(description="of all prompts, as the generator counts them")
    output_tokens: int = Field(description="of all answers")
    seconds: float = Field(description="from the first request to the last answer")
    tokens_per_second: float = Field(description="tokens of answers a second")
    goodput: float = Field(
        description="the same of requests within the limit of milliseconds per token; of all, without one"
    )
    ms_per_token: float = Field(description="milliseconds from one token of an answer to the next")
    ms_per_token_p99: float
    first_token_ms: float = Field(description="milliseconds from a request to the first token of its answer")
    first_token_ms_p99: float
    estimate: Estimate | None = Field(description="what the plan says; null where nothing is known")
    published: Published | None = Field(description="null where nobody has published a run of that kind")


class Bench(Part):
    """A bench of an engine, of all engines of a host, or of the endpoint."""

    target: str = Field(description="name of the engine, the host or the balancer")
    through: Literal["engine", "endpoint"] = Field(description="whether engines were asked, or a balancer")
    host: str = Field(description="where the load generator ran")
    at: str = Field(description="when it began; ISO 8601, UTC, by the controller's clock")
    by: str = Field(description="user@controller")
    release: str | None = Field(description="what the engines served; null of the endpoint")
    image: str = Field(description="by digest: of the engines, whose generator it was")
    engine: str
    model: str
    accelerator: str
    tensor_parallel: int = Field(description="accelerators of each engine")
    engines: int
    draft: bool
    preset: str
    prompt: int = Field(description="tokens of each prompt")
    output: int = Field(description="tokens of each answer")
    tpot_limit: float | None = Field(
        description="milliseconds per token within which a request counts as goodput; null: each does"
    )
    seed: int = Field(description="of the random words of the prompts")
    rungs: tuple[Rung, ...]
    no_estimate: str | None = Field(description="why there is no estimate; null where there is one")
    ended: str = Field(description="why no further rung was measured")
    failed: str | None = Field(
        description="why the next rung was not measured: what was answered instead; null where nothing went wrong"
    )

    @property
    def best(self) -> Rung:
        """The rung with the most goodput."""
        return max(self.rungs, key=lambda rung: rung.goodput)
