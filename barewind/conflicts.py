"""What is valid key by key but does not go together. Each is a sentence with the remedy; `(key, sentence)`."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import ValidationError

from barewind import catalog
from barewind.drivers import conflicts as drivers
from barewind.sizing import OPTIONS_OF_KEYS, numbers, reference, version
from barewind.spec import EngineSpec

# Options of the engines that Barewind sets from keys of its own: firewall, balancer, gates, unit and draft go by them.
_OWN_OPTIONS = {
    "host": "address",
    "port": "engine_port",
    "model": "model",
    "model-path": "model",
    "served-model-name": "served_model_name",
    "tensor-parallel-size": "tensor_parallel_size",
    "tp-size": "tensor_parallel_size",
    "max-model-len": "context_length",
    "context-length": "context_length",
    "shutdown-timeout": "shutdown_timeout",
    "speculative-config": "speculative",
    "speculative-algorithm": "speculative",
    "speculative-draft-model-path": "draft",
    "speculative-num-steps": "speculative",
    "speculative-num-draft-tokens": "speculative",
}


def conflicts(spec: EngineSpec) -> Iterator[tuple[str, str]]:
    """Every conflict of one host's spec."""
    yield from _image(spec)
    yield from _parallelism(spec)
    yield from _modality(spec)
    yield from _options(spec)
    yield from drivers.conflicts(spec)
    model = catalog.models()[spec.model]
    accelerator = catalog.accelerators()[spec.accelerator]
    if model.precision == "fp8" and not accelerator.fp8:
        able = ", ".join(name for name, one in catalog.accelerators().items() if one.fp8)
        yield (
            "accelerator",
            f"{spec.accelerator} cannot multiply FP8, which {spec.model} is stored in; use one of {able}",
        )
    yield from _draft(spec)
    if spec.context_length is not None and spec.context_length > model.context_length:
        yield (
            "context_length",
            f"{spec.context_length} is more than {spec.model} can take ({model.context_length} tokens); lower it",
        )


def _draft(spec: EngineSpec) -> Iterator[tuple[str, str]]:
    model = catalog.models()[spec.model]
    if spec.speculative not in (False, "auto") and spec.draft is None and model.draft is None:
        yield "speculative", f"no draft is known for {spec.model}; name one with 'draft' or set speculative = False"
    if spec.draft is not None:
        draft = catalog.models()[spec.draft].shape
        if spec.draft == spec.model or (draft.hidden, draft.vocabulary) != (model.shape.hidden, model.shape.vocabulary):
            yield "draft", f"{spec.draft} is no draft head of {spec.model}; use {model.draft or 'one made for it'}"


def _image(spec: EngineSpec) -> Iterator[tuple[str, str]]:
    engine = catalog.engines()[spec.engine]
    vendor = catalog.accelerators()[spec.accelerator].vendor
    layout = engine.layout
    if layout not in catalog.models()[spec.model].layouts:
        yield (
            "engine",
            f"{spec.engine} loads the {layout} layout, which {spec.model} does not come in; choose another engine",
        )
    if spec.image is None:
        if vendor == "none":
            yield "image", f'accelerator "{spec.accelerator}" has no upstream image; name the CPU build of the engine'
            return
        if vendor not in engine.images or spec.channel not in engine.channels[vendor]:
            known = ", ".join(f'"{one}"' for one in engine.channels.get(vendor, {})) or "none"
            yield (
                "channel",
                f'{spec.engine} has no "{spec.channel}" image for {vendor} accelerators (channels: {known}); '
                "choose another or name an 'image'",
            )
            return
    architecture = catalog.accelerators()[spec.accelerator].architecture
    if spec.image is None and architecture in engine.unbuilt:
        yield (
            "accelerator",
            f"{spec.engine}'s image is not built for {spec.accelerator}: {engine.unbuilt[architecture]}",
        )
    found = version(spec)
    if found is None:
        return
    where = f"{spec.engine} {found} ({reference(spec)})"
    if found in engine.known_bad:
        yield "image", f"{where} is known not to work: {engine.known_bad[found]}; use another version"
    elif _older(found, engine.floor):
        yield (
            "image",
            f"{where} is older than {engine.floor}, the first that serves this model; use that or a later one",
        )
    elif spec.speculative not in (False, "auto") and _older(found, engine.draft_floor):
        yield (
            "speculative",
            f"{where} is older than {engine.draft_floor}, the first that drafts with EAGLE; use that or a later one, "
            "or set speculative = False",
        )


def _parallelism(spec: EngineSpec) -> Iterator[tuple[str, str]]:
    shape = catalog.models()[spec.model].shape
    parallel = spec.tensor_parallel_size or spec.accelerator_count
    key = "tensor_parallel_size" if spec.tensor_parallel_size else "accelerator_count"
    if parallel > spec.accelerator_count:
        yield key, f"{parallel} is more than accelerator_count {spec.accelerator_count}; lower it or leave it out"
    elif shape.heads % parallel or (shape.kv_heads % parallel and parallel % shape.kv_heads):
        good = [n for n in range(1, spec.accelerator_count + 1) if not shape.heads % n and not shape.kv_heads % n]
        yield (
            key,
            f"{parallel} does not divide the {shape.heads} heads and {shape.kv_heads} KV heads of {spec.model}; "
            f"set tensor_parallel_size to one of {', '.join(map(str, good))}",
        )


def _modality(spec: EngineSpec) -> Iterator[tuple[str, str]]:
    if spec.modality == "text" and spec.images_per_prompt is not None:
        yield (
            "images_per_prompt",
            'needs modality = "image", found "text"; set the modality or remove the key',
        )
    given = {_option(name) for name, value in spec.engine_args.items() if value is not False}
    if spec.modality == "image" and "language-model-only" in given:
        yield "engine_args", "'language-model-only' excludes images; set modality = \"text\" or remove it"
    for name in sorted(given & {"limit-mm-per-prompt", "mm-encoder-tp-mode", "limit-mm-data-per-request"}):
        if spec.modality == "text":
            yield "engine_args", f"'{name}' needs images; set modality = \"image\" or remove it"


def _options(spec: EngineSpec) -> Iterator[tuple[str, str]]:
    for name, value in spec.engine_args.items():
        option = _option(name)
        key = _OWN_OPTIONS.get(option)
        if option == "language-model-only" and spec.modality == "text" and value is False:
            key = "modality"
        if key:
            yield "engine_args", f"'{name}' is set by the key '{key}', which other parts of the plan go by; use that"
        elif option in OPTIONS_OF_KEYS:
            yield from _bounds(spec, name, OPTIONS_OF_KEYS[option], value)


def _bounds(spec: EngineSpec, name: str, key: str, value: object) -> Iterator[tuple[str, str]]:
    """An option that says what a key says has the key's bounds: the memory fit goes by it."""
    try:
        EngineSpec.model_validate(spec.model_dump() | {key: value})
    except ValidationError as error:
        yield "engine_args", f"'{name}': {error.errors()[0]['msg']}, found {value!r}; see '{key}' in group_data/all.py"


def _option(name: str) -> str:
    """The option a name of `engine_args` stands for: without dashes in front, underscores as dashes, nested keys cut off."""
    return name.lstrip("-").replace("_", "-").partition(".")[0]


def _older(found: str, floor: str) -> bool:
    return numbers(found) < numbers(floor)
