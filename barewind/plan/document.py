"""The plan of an engine host as `barewind plan --json` prints it. docs/plan.schema.json is made of these models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from barewind.catalog import Layout
from barewind.engines.sizing import in_flight_of
from barewind.engines.workload import Sizing
from barewind.estimate.host import Estimate, estimates, serving_of
from barewind.plan.checks import problems
from barewind.plan.engine import EnginePlan
from barewind.spec.keys import EngineSpec


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Image(_Part):
    """The engine's image."""

    reference: str = Field(description="its name, as group data or the catalog have it")
    digest: str | None = Field(description="sha256:...; null while it is not locked")


class Weights(_Part):
    """A repository of weights."""

    id: str
    revision: str = Field(description="the commit; a branch while it is not locked")
    layout: Layout


class Parallelism(_Part):
    """How an engine is divided over accelerators."""

    tensor: int = Field(description="accelerators that hold the model together")
    data: int = Field(description="engines side by side in one process group; 1 unless engine_args say otherwise")


class Replica(_Part):
    """Which of a host's engines this is."""

    name: str = Field(description="what balancers, status and messages call it")
    number: int = Field(description="from 0")
    of: int = Field(description="engines on the host")
    accelerators: int = Field(description="accelerators of each")


class FitPart(_Part):
    """Whether it fits into the accelerators' memory; null where there are no accelerators."""

    fits: bool
    weights_mib: int = Field(description="MiB of weights on each accelerator")
    kv_bytes_per_token: int = Field(description="bytes of KV cache of a token, over all accelerators")
    kv_token_capacity: int = Field(description="tokens of KV cache that fit, of each engine")
    context_length: int = Field(description="tokens of the context that is planned")
    max_context_length: int = Field(description="tokens of the longest context that would fit")
    concurrent_sequences: int = Field(description="sequences of the whole context that fit at a time")
    advice: tuple[str, ...] = Field(description="what would make it fit, what costs least first; empty where it does")
    data_parallel: int = Field(description="engines side by side, each with such a cache")


class Profile(_Part):
    """What the values that keys leave open go by."""

    name: Literal["latency", "balanced", "throughput", "recipe"]
    in_flight: int | None = Field(
        description="requests in flight on the host that they are worked out for; null for a full host, or a published command"
    )
    why: dict[str, str] = Field(
        description="by key, why it has its value; keys that are set, or mean the engine, are not there"
    )


class HostPlan(_Part):
    """What an engine host is to serve."""

    host: str
    groups: tuple[str, ...]
    problems: tuple[str, ...] = Field(
        description="what keeps the plan from being carried out, with the remedy; with one of them the exit status is 1"
    )
    accelerator: str
    accelerator_count: int
    engine: str
    image: Image
    model: Weights
    draft: Weights | None
    port: int
    parallelism: Parallelism
    profile: Profile
    context_length: int = Field(description="tokens, prompt and answer together")
    utilization: float | None = Field(description="share of each accelerator's memory; null without accelerators")
    sequences: int | None = Field(description="sequences batched at a time; null where the engine decides")
    batched_tokens: int | None = Field(description="tokens of a step; null where the engine decides")
    argv: tuple[str, ...] = Field(description="the engine's arguments")
    env: dict[str, str] = Field(description="the engine's environment, without secrets")
    secrets: tuple[str, ...] = Field(description="names of the variables that come by file")
    container_args: tuple[str, ...] = Field(description="options of `docker run`")
    reasons: dict[str, str] = Field(description="why each option is there")
    fit: FitPart | None
    estimate: tuple[Estimate, ...] = Field(
        description="how fast the host will be, by the requests in flight; empty where nothing is known of that"
    )
    no_estimate: str | None = Field(description="why nothing is known of how fast it will be; null where something is")
    release: str | None = Field(description="12 hex digits; null while image or weights are not locked")
    replicas: Replica | None = Field(
        default=None,
        exclude_if=lambda part: part is None,
        description="only on hosts with several engines, which have a plan each",
    )


def _reasons(spec: EngineSpec, sizing: Sizing) -> dict[str, str]:
    """Why keys have their values that are left open."""
    return sizing.reasons | ({"replicas": spec.replicas_chosen} if spec.replicas_chosen else {})


def as_json(plan: EnginePlan, found: Sequence[str] | None = None) -> dict[str, Any]:
    """A plan as JSON has it, in the shape of `HostPlan`; `found`: its problems, where they are known already."""
    spec, sizing = plan.spec, plan.sizing
    model, *drafts = (dict(zip(("id", "revision", "layout"), name, strict=True)) for name in plan.revisions)
    fit = None if sizing.fit is None else asdict(sizing.fit) | {"advice": list(sizing.fit.advice)}
    serving = serving_of(spec, sizing)
    document = {
        "host": spec.host,
        "groups": list(spec.groups),
        "problems": list(problems(plan) if found is None else found),
        "accelerator": spec.accelerator,
        "accelerator_count": spec.accelerator_count,
        "engine": spec.engine,
        "image": {"reference": plan.image, "digest": plan.digest},
        "model": model,
        "draft": drafts[0] if drafts else None,
        "port": spec.engine_port,
        "parallelism": {"tensor": spec.tensor_parallel, "data": 1 if fit is None else fit["data_parallel"]},
        "profile": {"name": spec.profile, "in_flight": in_flight_of(spec), "why": _reasons(spec, sizing)},
        "context_length": sizing.context_length,
        "utilization": sizing.utilization,
        "sequences": sizing.sequences,
        "batched_tokens": sizing.batched_tokens,
        "argv": plan.command.argv,
        "env": plan.command.env,
        "secrets": sorted(plan.secrets),
        "container_args": list(plan.container),
        "reasons": {option.flag: option.reason for option in plan.command.options},
        "fit": fit,
        "estimate": [estimate.model_dump() for estimate in estimates(serving)],
        "no_estimate": serving if isinstance(serving, str) else None,
        "release": plan.release,
    }
    if spec.replica is not None:
        document["replicas"] = {
            "name": spec.name,
            "number": spec.replica,
            "of": spec.replicas,
            "accelerators": spec.accelerators_each,
        }
    return document
