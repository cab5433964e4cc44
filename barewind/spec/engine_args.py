"""Options of an engine as `engine_args` holds them: names, and values that a command line can have."""

from __future__ import annotations

import json
import re

from barewind.secrets import option_named_like_one
from barewind.spec.names import LONGEST_LINE, kind, shown

_DEEPEST = 50  # levels of an option's value: engines' own have four


def checked(value: object) -> object:
    """The value of `engine_args`, as it is; what is no dict is left to pydantic, which explains what it should be.

    Raises:
        ValueError: a name is no option's, or a value none that an option can have.
    """
    if not isinstance(value, dict):
        return value
    for name, setting in value.items():
        if not re.fullmatch(r"-{0,2}[A-Za-z][\w.-]{0,254}", str(name), re.ASCII):
            raise ValueError(f"{shown(name)} is no option's name; write the name alone, the value beside it")
        if option_named_like_one(str(name)):
            found = "a secret"
        else:  # something within a dict or a list may be a secret by its name alone
            found = shown(setting) if isinstance(setting, bool | int | float | str) else kind(setting)
        parts = setting if isinstance(setting, list) else [setting]
        if not parts or any(not isinstance(part, int | float | str) for part in parts if part is not setting):
            raise ValueError(f"'{name}': found {found}; write a list of numbers or texts, or a dict")
        if not isinstance(setting, bool | int | float | str | list | dict) or any(
            isinstance(part, str) and not part.isprintable() for part in parts
        ):
            raise ValueError(
                f"'{name}': found {found}; write a number, text in one line, True, False, a list of such or a dict"
            )
        try:
            json.dumps(setting, allow_nan=False)
            length = len(json.dumps(setting) if isinstance(setting, dict | list) else str(setting).encode())
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"'{name}': found {found}, which is no JSON ({error}); correct it") from None
        if _deeper(setting, _DEEPEST):
            raise ValueError(f"'{name}': is nested more than {_DEEPEST} levels deep; flatten it")
        if length > LONGEST_LINE:
            raise ValueError(f"'{name}': is longer than {LONGEST_LINE} bytes; shorten it")
    return value


def _deeper(value: object, most: int) -> bool:
    """Whether a value of JSON has more levels than that; level by level, since Python's own depth is limited."""
    level = [value]
    for _ in range(most + 1):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list | tuple)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return bool(level)
