"""Engines: pure functions from a spec to arguments, environment and container options."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from barewind import flags
from barewind.sizing import Sizing, version
from barewind.spec import EngineSpec

DEFAULT_IMAGES = 4  # per prompt, where modality is image and nothing else is said

Value = bool | int | float | str | dict[str, Any]


@dataclass(frozen=True)
class Option:
    """One command line option: True is a bare flag, a dict is passed as JSON. `reason` is shown to people."""

    flag: str
    value: Value
    reason: str

    def arguments(self) -> list[str]:
        """The option as the process receives it."""
        if self.value is True:
            return [self.flag]
        if isinstance(self.value, dict):
            return [self.flag, json.dumps(self.value)]
        return [self.flag, str(self.value)]


@dataclass(frozen=True)
class EngineCommand:
    """What follows the image in `docker run`, and the environment it gets."""

    positional: tuple[str, ...]
    options: tuple[Option, ...]
    env: dict[str, str] = field(default_factory=dict)

    @property
    def argv(self) -> list[str]:
        """The argument list as the container gets it."""
        return self.without()

    def without(self, *flags: str) -> list[str]:
        """The argument list, some options left out."""
        kept = (option for option in self.options if option.flag not in flags)
        return [*self.positional, *(argument for option in kept for argument in option.arguments())]


def overridden(options: list[Option], spec: EngineSpec) -> tuple[Option, ...]:
    """Apply a user's `engine_args`: add an option, replace one, or leave one out (False).

    An alias or the negation of a planned option replaces it too: the engine's own list of options says which those are.
    """
    known = flags.nearest(spec.engine, version(spec)).by_name
    wanted = {"--" + name.lstrip("-").replace("_", "-"): value for name, value in spec.engine_args.items()}

    def same(flag: str) -> str:
        return known[flag].names[0] if flag in known else flag

    def negated(flag: str) -> bool:
        return flag in known and flag in known[flag].negated

    # False leaves an option out, but not its negation: that would turn on what the user says to turn off.
    replaced = {same(flag) for flag, value in wanted.items() if value is not False}
    left_out = {(same(flag), negated(flag)) for flag, value in wanted.items() if value is False}
    kept = [
        option
        for option in options
        if same(option.flag) not in replaced and (same(option.flag), negated(option.flag)) not in left_out
    ]
    own = [Option(flag, value, "engine_args") for flag, value in wanted.items() if value is not False]
    return (*kept, *own)


def context_reason(spec: EngineSpec, sizing: Sizing) -> str:
    """Why this context length."""
    if spec.context_length is not None:
        return "context_length, in tokens"
    return "tokens; the model's own" if sizing.fit is None else "tokens; the largest usual context that fits"


def utilization_reason(spec: EngineSpec, sizing: Sizing) -> str:
    """Why this share of the memory."""
    if spec.gpu_memory_utilization is not None:
        return "gpu_memory_utilization"
    return (
        "leaves room for drafting (one guide's value)" if sizing.draft else "the share that the fit is worked out with"
    )


def batch_reason(value: int | None, key: str) -> str:
    """Why this batch size."""
    return key if value is not None else "vendor's serve settings"
