"""What the tests of the accelerator checks share: problems of given facts, and facts that differ in one card."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from barewind.drivers.checks import check
from barewind.drivers.model import AcceleratorFacts
from barewind.spec.keys import EngineSpec
from tests.support.accelerator_hosts import b200, h100_hgx, h200_hgx, mi300x
from tests.support.factories import engine_spec, plan

Facts = AcceleratorFacts
MODES = ["before", "after", "external"]  # a managed deploy, what it left, drivers that the site keeps
MADE = {"h200": h200_hgx, "h100": h100_hgx, "b200": b200, "mi300x": mi300x}
MANAGE = "set accelerator_drivers = 'managed'"
DEAD = {"gpus": [], "tool": ""}


def found(facts: Facts, mode: str, spec: EngineSpec | None = None, **changes: Any) -> list[tuple[str, str]]:
    """Finding and remedy of each problem; `changes` are keys of the plan (cuda, rocm)."""
    spec = spec or engine_spec()
    drivers = "external" if mode == "external" else "managed"
    made = plan(spec.model_copy(update={"accelerator_drivers": drivers}))
    problems = check(replace(made, **changes), facts, ready=mode != "before")
    assert all(one.host == spec.host and one.finding and one.remedy for one in problems)
    return [(one.finding, one.remedy) for one in problems]


def spec_of(accelerator: str, **changes: Any) -> EngineSpec:
    return engine_spec(accelerator=accelerator, **changes)


def without(facts: Facts, number: int) -> list[Any]:
    """The GPUs but for one."""
    return [gpu for at, gpu in enumerate(facts["gpus"]) if at != number]


def each(facts: Facts, **changes: Any) -> list[Any]:
    """The GPUs, all of them changed."""
    return [gpu | changes for gpu in facts["gpus"]]


def one(facts: Facts, number: int, **changes: Any) -> list[Any]:
    """The GPUs, one of them changed."""
    return [gpu | changes if at == number else gpu for at, gpu in enumerate(facts["gpus"])]


def cards(facts: Facts, *numbers: int, **changes: Any) -> list[Any]:
    """The cards on the bus, some of them changed."""
    return [card | changes if at in numbers else card for at, card in enumerate(facts["pci"])]
