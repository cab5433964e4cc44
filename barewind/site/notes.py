"""What a person should know of an inventory that keeps nothing from being carried out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from barewind import catalog
from barewind.engines.candidate import with_engine_args
from barewind.output.names import fold
from barewind.site import between, doors, options, profiles
from barewind.spec.site import Site


def notes(site: Site) -> list[str]:
    """A line each, with what to do about it; empty where there is nothing to tell."""
    return [
        *site.notes,
        *between.differences(site),
        *_fp8_kernels(site),
        *_fp8_cache(site),
        *profiles.notes(site),
        *options.notes(site),
        *_risks(site),
    ]


def _risks(site: Site) -> Iterator[str]:
    """What somebody has accepted, so that nobody else takes it for the default; and what is accepted for nothing."""
    accepted: dict[tuple[str, str], list[str]] = defaultdict(list)
    unused: dict[str, list[str]] = defaultdict(list)
    for name, spec in site.engines.items():
        for risk in doors.risks(spec).items():
            accepted[risk].append(name)
        for risk_name in doors.unused(spec):
            unused[risk_name].append(name)
    for (name, what), hosts in accepted.items():
        yield f"accepted risk '{name}' on {fold(hosts)}: {what}"
    for name, hosts in unused.items():
        yield f"key 'accept_risks': '{name}' on {fold(hosts)}: nothing there uses it; remove it"


def _fp8_kernels(site: Site) -> Iterator[str]:
    """Accelerators without FP8 matrix units, which serve FP8 weights all the same: as much memory, another speed."""
    hosts: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for name, spec in site.engines.items():
        accelerator, model = catalog.accelerators()[spec.accelerator], catalog.models()[spec.model]
        if model.precision == "fp8" and not accelerator.fp8 and accelerator.fp8_kernel:
            hosts[spec.accelerator, accelerator.fp8_kernel, spec.model].append(name)
    for (accelerator_name, kernel, model_name), names in hosts.items():
        yield (
            f"{accelerator_name} on {fold(names)} cannot multiply FP8: the weights of {model_name} stay FP8 in memory and "
            f"are multiplied as BF16 ({kernel} kernels, which the engine chooses itself). Prompts are read more slowly than on "
            "accelerators with FP8; published figures are not this set-up's"
        )


def _fp8_cache(site: Site) -> Iterator[str]:
    """KV caches in FP8 of weights that bring no scales for it, where no gate looks at what that does to answers."""
    hosts: dict[str, list[str]] = defaultdict(list)
    for name, spec in site.engines.items():
        calibrated = catalog.models()[spec.model].kv_cache_dtype == "fp8"
        gated = spec.accuracy_floor is not None or spec.evaluation is not None
        if with_engine_args(spec).kv_cache_dtype == "fp8" and not calibrated and not gated:
            hosts[spec.model].append(name)
    for model, names in hosts.items():
        yield (
            f"key 'kv_cache_dtype': FP8 on {fold(names)}, and the weights of {model} bring no calibrated scales for it: answers "
            "can get worse. Let a gate look: accuracy_floor = 0.9 (docs/gates.md)"
        )
