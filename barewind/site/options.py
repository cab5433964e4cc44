"""A host's own options (`engine_args`) against its plan: what cannot work, what the engine itself would refuse."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator

from barewind import catalog
from barewind.catalog.option_classes import option_classes
from barewind.engines import ENGINES, options, sizing
from barewind.engines.candidate import with_engine_args
from barewind.engines.command import option_of
from barewind.engines.counted import counted
from barewind.engines.fit import CONTEXT_MIB
from barewind.engines.image import version
from barewind.output.names import fold
from barewind.spec.keys import EngineSpec
from barewind.spec.names import shown
from barewind.spec.site import Site


def refused(spec: EngineSpec) -> Iterator[tuple[str, str]]:
    """Key and sentence of every option that cannot work with any plan of the host."""
    classes = option_classes(spec.engine)
    for name, value in spec.engine_args.items():
        option = _first_name(spec, name)
        refusal = classes.refused.get(option) if option is not None else None
        if refusal is not None and refusal.holds(value):
            what = f"'{name}'" if value is True else f"'{name}': {shown(value)}"
            yield "engine_args", f"{what} cannot work here: {refusal.why}; leave it out"
    yield from _parallelism(spec)
    yield from _memory_share(spec)


def steps(spec: EngineSpec) -> Iterator[tuple[str, str]]:
    """Key and sentence of what the engine refuses together: tokens of a step against sequences and context.

    It goes by what is settled, so that everything else of the spec must be right.
    """
    if not (spec.engine_args or spec.max_num_seqs or spec.max_num_batched_tokens):
        return  # the defaults go together
    settled = sizing.size(spec)
    tokens, sequences = settled.batched_tokens, settled.sequences
    if tokens is None or sequences is None:
        return
    if ENGINES[spec.engine].memory.sequences_within_step and sequences > tokens:
        key = "max_num_batched_tokens" if spec.max_num_batched_tokens else "max_num_seqs"
        yield (
            key,
            f"a step of {tokens} tokens has none for some of {sequences} sequences, and {spec.engine} then does not start; set "
            f"max_num_batched_tokens to {sequences} or more, or max_num_seqs to {tokens} or less",
        )
    if tokens < settled.context_length and any(
        option_of(name) == "--no-enable-chunked-prefill" and value is not False
        for name, value in spec.engine_args.items()
    ):
        yield (
            "engine_args",
            f"'no-enable-chunked-prefill' wants steps that hold a whole prompt: {settled.context_length} tokens, and steps have "
            f"{tokens}; leave it out, or set max_num_batched_tokens = {settled.context_length}",
        )


def notes(site: Site) -> Iterator[str]:
    """Options that are let through although nothing here knows what they change, or whether their files are there."""
    hosts: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for name, spec in site.engines.items():
        for written, value in spec.engine_args.items():
            if not _known(spec, written):
                what = "what it changes is not known here: memory and checks of the plan are without it"
                hosts[spec.engine, written, what].append(name)
            elif _first_name(spec, written) in option_classes(spec.engine).files and (file := _path(value)):
                hosts[
                    spec.engine, written, f"{shown(file)} must be a file that its container has: {_files(spec)}"
                ].append(name)
    for (engine, written, what), names in hosts.items():
        yield f"key 'engine_args': '{written}' on {fold(names)}: {engine} takes it, but {what}"


def _path(value: object) -> str | None:
    """What looks like a path in an option's value: /x, NAME=/x, the same in JSON."""
    found = re.search(
        r"(?:^|[=\s\"'])(\.{0,2}/[^\s\"',}\]]*)", json.dumps(value) if isinstance(value, dict) else str(value)
    )
    return found[1] if found else None


def _files(spec: EngineSpec) -> str:
    """Which files a container has, in words."""
    own = f", and {spec.weights_path} of the host" if spec.weights_source == "path" else ""
    return f"those of its image, the weights under /models{own}"


def _known(spec: EngineSpec, written: str) -> bool:
    option, engine = _first_name(spec, written), ENGINES[spec.engine]
    if option is None:
        return True  # no option of the engine's: refused, or one that turns another off
    return (
        option_classes(spec.engine).known(option)
        or engine.keys.key(option) is not None
        or option in (*engine.risks, *engine.secret_options, *engine.refused, *engine.image_options)
        or any(option in words for words in engine.layout_words.values())
        or option in (engine.text_only_option, engine.metrics.enabled_by, engine.metrics.disabled_by)
        or option.removeprefix("--") in sizing.size(spec).extra
    )


def _first_name(spec: EngineSpec, written: str) -> str | None:
    """The option's name as the engine lists it first; None for what is none of it, or turns one off."""
    schema, option = options.nearest(spec.engine, version(spec)), option_of(written)
    flag = None if schema is None else schema.by_name.get(option)
    return None if flag is None or option in flag.negated else flag.names[0]


def _parallelism(spec: EngineSpec) -> Iterator[tuple[str, str]]:
    copies = counted(spec.engine, spec.engine_args).data_parallel
    parallel = spec.tensor_parallel
    there = spec.accelerators_each
    if copies > 1 and copies * parallel > there:
        fitting = [size for size in range(1, parallel + 1) if size * copies == there]
        remedy = (
            f"set tensor_parallel_size = {fitting[0]}, or leave the option out" if fitting else "leave the option out"
        )
        yield (
            "engine_args",
            f"{copies} engines side by side of {parallel} accelerators each: {copies * parallel} accelerators needed, "
            f"{there} there{' for each replica' if spec.replicas > 1 else ''}; {remedy}",
        )


def _memory_share(spec: EngineSpec) -> Iterator[tuple[str, str]]:
    """A share of the memory that is never free: the runtime has taken some before the engine looks."""
    if spec.gpu_memory_utilization is None and not spec.engine_args:
        return
    accelerator = catalog.accelerators()[spec.accelerator]
    utilization = with_engine_args(spec).gpu_memory_utilization
    if not isinstance(utilization, float) or not 0 < utilization < 1 or accelerator.is_cpu:
        return
    most = (accelerator.memory_mib - CONTEXT_MIB) / accelerator.memory_mib
    if utilization > most:
        yield (
            "gpu_memory_utilization",
            f"{utilization}: {int(accelerator.memory_mib * (1 - utilization))} MiB of {accelerator.memory_mib} would be left for "
            f"the runtime's context, which takes {CONTEXT_MIB}, and {spec.engine} ends where less is free than that; set "
            f"{int(most * 100) / 100} or less",
        )
