"""An engine of a host as the law of a step sees it, and where too little is known for that."""

from __future__ import annotations

from barewind import catalog
from barewind.engines.counted import counted
from barewind.spec.keys import EngineSpec
from barewind.speed.step import Draft, Runner

_OTHER_WEIGHTS = 0.05  # share by which FP8 weights may differ from what their shape has


def unknown(spec: EngineSpec, draft: str | None, draft_tokens: int) -> str:
    """Why nothing is known of how fast a host's engines are with a draft, or without (None); empty where something is."""
    model, speed = catalog.models()[spec.model], catalog.speeds().get(spec.accelerator)
    if speed is None:
        return f"nothing is known of how fast {spec.accelerator} is"
    weights = model.shape.body + 4 * model.shape.head  # output layer and embeddings are BF16
    told = model.weights.total - model.weights.vision
    if model.precision != "fp8" or abs(told / weights - 1) > _OTHER_WEIGHTS:
        return f"nothing is known of how fast {spec.model} is: its weights are not those of a dense model in FP8"
    if spec.tensor_parallel > 1 and spec.tensor_parallel not in speed.all_reduce:
        return f"nothing is known of how fast {spec.tensor_parallel} {spec.accelerator} are together"
    known = (model.draft, model.draft_tokens) if model.draft_accepted else None
    if draft is not None and (draft, draft_tokens) != known:
        return f"nothing is known of how many of {draft_tokens} tokens are right that {draft} drafts"
    asked = counted(spec.engine, spec.engine_args)
    if asked.no_graphs or asked.offloaded_gib or asked.adapters_on:
        return "engine_args change what a step does, and nothing is known of how long it takes then"
    return ""


def runner(model: str, accelerator: str, tensor_parallel: int, kv_bytes: int, *, drafting: bool) -> Runner:
    """The engine; `drafting` is with the model's own draft. Only where something is known (`unknown`)."""
    entry = catalog.models()[model]
    draft = None
    if drafting and entry.draft and entry.draft_tokens and entry.draft_accepted:
        head = catalog.models()[entry.draft]
        draft = Draft(head.weights.total, head.shape.layers, entry.draft_tokens, entry.draft_accepted)
    return Runner(entry.shape, catalog.speeds()[accelerator], tensor_parallel, kv_bytes, draft)
