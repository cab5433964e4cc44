"""Arguments and environment of an engine's process, and how `engine_args` change them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from barewind.engines.options import Flag, Schema

Value = bool | int | float | str | list[Any] | dict[str, Any]


def spelled(name: str) -> str:
    """The option that a name in `engine_args` stands for: `--` in front, dashes for underscores."""
    return "--" + name.lstrip("-").replace("_", "-")


def option_of(name: str) -> str:
    """The same without nested keys (`--flag.key`)."""
    return spelled(name).partition(".")[0]


@dataclass(frozen=True)
class Option:
    """A command line option: True is a bare flag, a dict is JSON, a list several values. `reason` is shown to people."""

    flag: str
    value: Value
    reason: str

    def arguments(self) -> list[str]:
        """The option as the process receives it."""
        if self.value is True:
            return [self.flag]
        if isinstance(self.value, dict):
            return [self.flag, json.dumps(self.value)]
        if isinstance(self.value, list):
            return [self.flag, *map(str, self.value)]
        return [self.flag, str(self.value)]


@dataclass(frozen=True)
class EngineCommand:
    """What follows the image in `docker run`, and the environment it gets.

    + per_host: options that differ between hosts, and between a host's engines, that serve the same
    """

    positional: tuple[str, ...]
    options: tuple[Option, ...]
    env: dict[str, str] = field(default_factory=dict)
    per_host: tuple[str, ...] = ()

    @property
    def argv(self) -> list[str]:
        """The argument list as the container gets it."""
        return self.without()

    @property
    def shared_argv(self) -> list[str]:
        """The argument list that hosts which serve the same have in common."""
        return self.without(*self.per_host)

    def without(self, *flags: str) -> list[str]:
        """The argument list, some options left out."""
        kept = (option for option in self.options if option.flag not in flags)
        return [*self.positional, *(argument for option in kept for argument in option.arguments())]


def overridden(options: list[Option], engine_args: Mapping[str, Value], schema: Schema | None) -> tuple[Option, ...]:
    """The planned options as a user's `engine_args` change them: each adds an option, replaces it, or leaves it out (False).

    An alias or the negation of a planned option replaces it too: `schema`, the engine's own list of options, has them.
    """
    known = {} if schema is None else schema.by_name
    wanted = {spelled(name): value for name, value in engine_args.items()}

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
    own = [
        Option(flag, part, "engine_args")
        for flag, value in wanted.items()
        if value is not False
        for part in _parts(known.get(flag), value)
    ]
    return (*kept, *own)


def _parts(flag: Flag | None, value: Value) -> list[Value]:
    """A list as an option takes it: as JSON, as several values, or each with the option in front of it."""
    if not isinstance(value, list) or flag is None:
        return [value]
    if flag.bounds[1] > 1:
        return [value]
    if flag.takes_json:
        return [json.dumps(value)]
    return list(value) if flag.repeatable else [value]
