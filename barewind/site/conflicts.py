"""Keys of a host that are valid one by one but do not go together, each with a sentence that names the remedy."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import ValidationError

from barewind import catalog
from barewind.drivers import conflicts as drivers
from barewind.drivers.vendors import vendor_of
from barewind.engines import ENGINES
from barewind.engines.candidate import SIZED_KEYS, key_of
from barewind.engines.command import option_of
from barewind.engines.image import built_for, reference, version
from barewind.engines.keys import OWN_KEYS
from barewind.site import doors, options, profiles
from barewind.spec.keys import EngineSpec
from barewind.versions import older


def conflicts(spec: EngineSpec) -> Iterator[tuple[str, str]]:
    """Key and sentence of every conflict in a host's spec."""
    found = list(_between_keys(spec))
    yield from found
    if not found:
        yield from options.steps(spec)


def _between_keys(spec: EngineSpec) -> Iterator[tuple[str, str]]:
    yield from _layout(spec)
    yield from _image(spec)
    yield from _accelerators(spec)
    yield from _parallelism(spec)
    yield from _modality(spec)
    yield from _options(spec)
    yield from options.refused(spec)
    yield from profiles.conflicts(spec)
    yield from doors.secrets(spec)
    yield from doors.unaccepted(spec)
    yield from drivers.conflicts(spec)
    model = catalog.models()[spec.model]
    accelerator = catalog.accelerators()[spec.accelerator]
    if model.precision == "fp8" and not (accelerator.fp8 or accelerator.fp8_kernel):
        able = ", ".join(name for name, known in catalog.accelerators().items() if known.fp8 or known.fp8_kernel)
        yield (
            "accelerator",
            f"{spec.accelerator} cannot multiply FP8, which {spec.model} is stored in; use one of {able}",
        )
    if model.precision == "nvfp4" and not accelerator.fp4:
        able = ", ".join(name for name, known in catalog.accelerators().items() if known.fp4)
        yield (
            "accelerator",
            f"{spec.accelerator} cannot multiply FP4, which {spec.model} is stored in; use one of {able}, or another model",
        )
    if model.engines and spec.engine not in model.engines:
        yield (
            "engine",
            f"nothing is known of {spec.engine} with {spec.model}; use {' or '.join(model.engines)}, or another model",
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
    if spec.draft is not None and (spec.draft == spec.model or not catalog.models()[spec.draft].drafts_for(model)):
        yield "draft", f"{spec.draft} is no draft head of {spec.model}; use {model.draft or 'one made for it'}"


def _layout(spec: EngineSpec) -> Iterator[tuple[str, str]]:
    """Weights in another layout than the engine loads, whether their repository has no other or an option asks for it."""
    engine, models = ENGINES[spec.engine], catalog.models()
    model = models[spec.model]
    layout = engine.layout(model)
    if layout not in model.layouts:
        yield (
            "engine",
            f"{spec.engine} loads the {layout} layout, which {spec.model} does not come in; choose another engine",
        )
    draft, draft_layout = spec.draft or model.draft, engine.layout_of_draft(model)
    if spec.speculative is not False and draft is not None and draft_layout not in models[draft].layouts:
        yield (
            "speculative",
            f"{spec.engine} loads drafts of {spec.model} in the {draft_layout} layout, which {draft} does not come in; name "
            "another with 'draft' or set speculative = False",
        )
    for name, value in spec.engine_args.items():
        if value == engine.layout_words.get(layout, {}).get(option_of(name)):
            yield (
                "engine_args",
                f"'{name}': {value!r} asks for weights in another layout, but {spec.engine} gets the {layout} layout of "
                f"{spec.model}; remove it",
            )


def _image(spec: EngineSpec) -> Iterator[tuple[str, str]]:
    entry = catalog.engines()[spec.engine]
    accelerator = catalog.accelerators()[spec.accelerator]
    vendor = accelerator.vendor
    if spec.image is None:
        if accelerator.is_cpu:
            yield "image", f'accelerator "{spec.accelerator}" has no upstream image; name the CPU build of the engine'
            return
        if vendor not in entry.images or spec.channel not in entry.channels[vendor]:
            known = ", ".join(f'"{channel}"' for channel in entry.channels.get(vendor, {})) or "none"
            yield (
                "channel",
                f'{spec.engine} has no "{spec.channel}" image for {vendor} accelerators (channels: {known}); '
                "choose another or name an 'image'",
            )
            return
    elif accelerator.is_cpu and (built := built_for(spec.image, spec.engine)) is not None:
        yield (
            "image",
            f'{spec.image} is a build for {built} accelerators, and the host has none (accelerator "{spec.accelerator}"); '
            f"name a CPU build of {spec.engine}, or the accelerator",
        )
    architecture = accelerator.architecture
    if spec.image is None and architecture in entry.unbuilt:
        yield (
            "accelerator",
            f"{spec.engine}'s image is not built for {spec.accelerator}: {entry.unbuilt[architecture]}",
        )
    release = version(spec)
    if release is None:
        return
    where = f"{spec.engine} {release} ({reference(spec)})"
    if release in entry.known_bad:
        yield "image", f"{where} is known not to work: {entry.known_bad[release]}; use another version"
    elif older(release, floor := catalog.models()[spec.model].engines.get(spec.engine, entry.floor)):
        yield (
            "image",
            f"{where} is older than {floor}, the first that serves this model; use that or a later one",
        )
    elif spec.speculative not in (False, "auto") and older(release, entry.draft_floor):
        yield (
            "speculative",
            f"{where} is older than {entry.draft_floor}, the first that drafts with EAGLE; use that or a later one, "
            "or set speculative = False",
        )


def _parallelism(spec: EngineSpec) -> Iterator[tuple[str, str]]:
    shape = catalog.models()[spec.model].shape
    parallel = spec.tensor_parallel
    there = spec.accelerators_each
    key = "accelerator_count" if spec.accelerators is None else "accelerators"
    if spec.replicas > 1:
        key = "replicas"
    if spec.tensor_parallel_size:
        key = "tensor_parallel_size"
    if parallel > there:
        of = f"the {there} accelerators of each of {spec.replicas} replicas"
        if spec.replicas == 1:
            of = f"accelerator_count {there}" if spec.accelerators is None else f"the {there} of 'accelerators'"
        yield key, f"{parallel} is more than {of}; lower it or leave it out"
    elif shape.heads % parallel or (shape.kv_heads % parallel and parallel % shape.kv_heads):
        good = [n for n in range(1, there + 1) if not shape.heads % n and not shape.kv_heads % n]
        yield (
            key,
            f"{parallel} does not divide the {shape.heads} heads and {shape.kv_heads} KV heads of {spec.model}; "
            f"set tensor_parallel_size to one of {', '.join(map(str, good))}",
        )


def _accelerators(spec: EngineSpec) -> Iterator[tuple[str, str]]:
    """Accelerators that the host has not, and replicas that do not come out even."""
    count, vendor = spec.accelerator_count, vendor_of(spec)
    if vendor is None:
        if spec.accelerators is not None:
            yield "accelerators", f'accelerator "{spec.accelerator}" is none that one could choose; remove the key'
        return
    beyond = [index for index in spec.accelerators or () if index >= count]
    if beyond:
        yield (
            "accelerators",
            f"{', '.join(map(str, beyond))}: a host with accelerator_count {count} numbers them from 0 to {count - 1}; "
            "correct one of the two",
        )
    if spec.accelerators_used % spec.replicas:
        even = [n for n in range(1, spec.accelerators_used + 1) if not spec.accelerators_used % n]
        yield (
            "replicas",
            f"{spec.replicas} does not divide the {spec.accelerators_used} accelerators that are used; set it to one of "
            f"{', '.join(map(str, even))}",
        )
    key = "accelerators" if spec.accelerators is not None else "replicas"
    if key == "replicas" and spec.replicas == 1:
        return
    if not vendor.cards:
        yield key, f"a host cannot give an engine some of its {vendor.title} accelerators only; remove the key"
    for name in sorted(set(spec.engine_env) & set(vendor.visibility)):
        yield (
            "engine_env",
            f"'{name}' chooses accelerators, and each engine gets its own from the host (key '{key}'); remove it",
        )


def _modality(spec: EngineSpec) -> Iterator[tuple[str, str]]:
    known = catalog.models()[spec.model].modalities
    if spec.modality not in known:
        yield (
            "modality",
            f'{spec.model} is not known to be served for "{spec.modality}"; set {" or ".join(known)}, or another model',
        )
    if spec.modality == "text" and spec.images_per_prompt is not None:
        yield (
            "images_per_prompt",
            'needs modality = "image", found "text"; set the modality or remove the key',
        )
    if spec.modality == "text" and spec.image_domains:
        yield "image_domains", 'needs modality = "image", found "text"; set the modality or remove the key'
    given = {option_of(name) for name, value in spec.engine_args.items() if value is not False}
    if spec.modality == "image":
        for option in sorted(given & _text_only_options()):
            yield "engine_args", f"'{option[2:]}' excludes images; set modality = \"text\" or remove it"
    else:
        for option in sorted(given & {option for engine in ENGINES.values() for option in engine.image_options}):
            yield "engine_args", f"'{option[2:]}' needs images; set modality = \"image\" or remove it"


def _options(spec: EngineSpec) -> Iterator[tuple[str, str]]:
    for name, value in spec.engine_args.items():
        option = option_of(name)
        key = key_of(option, spec.engine)
        admin_key = ENGINES[spec.engine].admin_key
        if admin_key is not None and option == admin_key.option:
            yield (
                "engine_args",
                f"'{name}' is Barewind's own: it names the file with the admin key, and {spec.engine} takes one file alone; "
                "write the options of yours here",
            )
        if option in _text_only_options() and spec.modality == "text" and value is False:
            key = "modality"
        if key in OWN_KEYS or key == "modality":
            yield "engine_args", f"'{name}' is set by the key '{key}', which other parts of the plan go by; use that"
        elif key in SIZED_KEYS and key == ENGINES[spec.engine].keys.key(option):
            yield from _bounds(spec, name, key, value)


def _text_only_options() -> set[str]:
    return {engine.text_only_option for engine in ENGINES.values() if engine.text_only_option is not None}


def _bounds(spec: EngineSpec, name: str, key: str, value: object) -> Iterator[tuple[str, str]]:
    """An option that stands for a key has the key's bounds, because the memory fit goes by it."""
    try:
        EngineSpec.model_validate(spec.model_dump() | {key: value})
    except ValidationError as error:
        yield "engine_args", f"'{name}': {error.errors()[0]['msg']}, found {value!r}; see '{key}' in group_data/all.py"
