"""Engines: pure functions from a spec to arguments, environment and container options."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

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


def overridden(options: list[Option], engine_args: dict[str, Any]) -> tuple[Option, ...]:
    """Apply a user's `engine_args`: add an option, replace one of the same name, or leave one out (False)."""
    wanted = {"--" + name.lstrip("-").replace("_", "-"): value for name, value in engine_args.items()}
    kept = [option for option in options if option.flag not in wanted]
    own = [Option(flag, value, "engine_args") for flag, value in wanted.items() if value is not False]
    return (*kept, *own)
