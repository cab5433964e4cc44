"""What keeps a plan from being carried out, found before any host is touched: memory, options, drivers, the lock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

from barewind import catalog
from barewind.engines import ENGINES, options
from barewind.engines import image as engine_image
from barewind.engines.remedies import remedies
from barewind.errors import BarewindError
from barewind.lock.manifest import lacking
from barewind.plan.engine import EnginePlan
from barewind.versions import older


def check(plans: dict[str, EnginePlan]) -> None:
    """Refuse plans that do not fit, or whose options or drivers the engine would refuse.

    Raises:
        BarewindError: every problem, with the hosts that have it and the remedy.
    """
    refuse({name: problems(plan) for name, plan in plans.items()})


def refuse(found: Mapping[str, Sequence[str]]) -> None:
    """Refuse plans that have problems.

    Raises:
        BarewindError: every problem, with the hosts that have it.
    """
    hosts_by_problem: dict[str, list[str]] = {}
    for name, its_problems in found.items():
        for problem in its_problems:
            hosts_by_problem.setdefault(problem, []).append(name)
    if hosts_by_problem:
        raise BarewindError("\n".join(f"{', '.join(hosts)}: {problem}" for problem, hosts in hosts_by_problem.items()))


def require_locked(plans: dict[str, EnginePlan], lock_file: str) -> None:
    """Refuse plans that the lock does not hold completely.

    Raises:
        BarewindError: names what is missing and the command that locks it.
    """
    missing = []
    for plan in plans.values():
        locked = {manifest.model for manifest in plan.manifests}
        parts = [
            f"weights {model}@{revision} ({layout} layout)"
            for model, revision, layout in plan.revisions
            if model not in locked
        ]
        if plan.digest is None:
            parts.append(f"image {plan.image}")
        missing += [part for part in parts if part not in missing]
    if missing:
        raise BarewindError(f"{lock_file}: does not hold {', '.join(missing)}; run: barewind lock INVENTORY")


def problems(plan: EnginePlan) -> list[str]:
    """What keeps a plan from being carried out, each with its remedy; empty if nothing does."""
    refused = [f"key 'engine_args': {problem}" for problem in _refused_options(plan)]
    return _too_large(plan) + refused + _incomplete_weights(plan) + _too_old_a_driver(plan)


def _too_large(plan: EnginePlan) -> list[str]:
    """Whether the accelerators' memory holds weights, KV cache and what else an engine needs."""
    fit, spec = plan.sizing.fit, plan.spec
    if fit is None or fit.fits:
        return []
    advice = "; or ".join(fit.advice) or "no single change of group data makes it fit: use more or larger accelerators"
    each = f" (each of {spec.replicas} replicas)" if spec.replicas > 1 else ""
    return [
        f"{spec.accelerators_each} x {spec.accelerator}{each} cannot hold {spec.model} with {fit.context_length} tokens of "
        f"context: room for {fit.kv_token_capacity} tokens of KV cache. Try: {advice}"
    ]


def _incomplete_weights(plan: EnginePlan) -> list[str]:
    """Whether the lock's entries hold what their layout is made of, and not the other layout's files under its name."""
    return [
        f"key 'lock_file': weights {manifest.model}@{manifest.requested} ({manifest.layout} layout): the entry holds no file "
        f"called {' or '.join(missing)}, which {plan.spec.engine} loads; run: barewind lock INVENTORY --update"
        for manifest in plan.manifests
        if (missing := lacking(manifest.files, catalog.models()[manifest.model].layouts[manifest.layout]))
    ]


def _refused_options(plan: EnginePlan) -> tuple[str, ...]:
    """The options that the engine's own command line would refuse or misread."""
    argv = plan.command.shared_argv[len(ENGINES[plan.spec.engine].entrypoint) :]
    return _checked(plan.spec.engine, engine_image.version(plan.spec), tuple(argv))


@lru_cache(maxsize=4096)
def _checked(engine: str, version: str | None, argv: tuple[str, ...]) -> tuple[str, ...]:
    schema = options.nearest(engine, version)
    refused = [f"{name} {why}" for name, why in ENGINES[engine].refused.items() if name in argv]
    return (*refused, *(() if schema is None else options.check(schema, argv, remedies(engine))))


def _too_old_a_driver(plan: EnginePlan) -> list[str]:
    """Whether the image's software would refuse the driver at its start; drivers that the site keeps are checked on the host."""
    spec = plan.spec
    accelerator = catalog.accelerators()[spec.accelerator]
    vendor = catalog.vendors().get(accelerator.vendor)
    if vendor is None or vendor.image_software is None or spec.accelerator_drivers == "external":
        return []
    key, software = vendor.driver_key, vendor.image_software
    # What the image itself says, where it is locked; else what its tag does.
    version, driver = getattr(plan, software) or engine_image.software_version(spec), getattr(spec, key)
    floor, newest = accelerator.floor(software, version)
    if not older(driver, floor):
        return []
    name = software.upper()
    return [
        f"key '{key}': {driver} is older than {floor}, which {plan.image} ({name} {version or newest}) needs with "
        f"{spec.accelerator}; name a newer driver, or an image of an older {name}"
    ]
