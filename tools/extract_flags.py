"""Write down what an engine's own parser accepts: `extract_flags.py vllm|sglang FILE`.

Runs inside the environment of tools/schema.py. Everything is read from the argparse objects or found by calling their
type functions; a function of unknown kind stops the extraction, so that a new engine version is looked at.
The format of the file is `Schema` in barewind/engines/options.py.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import real_parsers

SUFFIXES = tuple(letter + more for letter in "kKmMgGtT" for more in ("", "i"))

# Type functions by name, where calling them does not tell what they are.
KINDS = {
    "str": "str",
    "int": "int",
    "float": "float",
    "nullable_str": "str",
    "loads": "json",
    "json_list_type": "json",
    "parse_cuda_graph_backend_arg": "str",
    "parse_cuda_graph_config_arg": "object",
    "parse_dataclass": "object",
    "union_dict_and_str": "text-or-object",
    "human_readable_int": "size",
    "human_readable_int_or_auto": "size",
}


def main() -> None:
    """Extract an engine's options into a file."""
    engine, file = sys.argv[1:]
    Path(file).write_text(as_text(schema(real_parsers.load(engine))))


def schema(real: real_parsers.RealParser) -> dict[str, Any]:
    """Everything the parser accepts."""
    actions = real.parser._actions
    options = [option(real, action) for action in actions if action.option_strings]
    sizes = [function for action in actions if (function := _unwrapped(action.type)[0]) and _kind(function) == "size"]
    return {
        "engine": real.engine,
        "version": real.version,
        "flexible": real.flexible,
        "size_suffixes": _suffixes(sizes[0], "1"),
        "size_decimal_suffixes": _suffixes(sizes[0], "1.5"),
        "positionals": [
            {"name": action.dest, "values": _values(action)} for action in actions if not action.option_strings
        ],
        "options": sorted(options, key=lambda entry: str(entry["names"][0])),
    }


def option(real: real_parsers.RealParser, action: argparse.Action) -> dict[str, Any]:
    """The entry of an option; what it leaves out has the default of `Flag` in barewind/engines/options.py."""
    negated = [
        name
        for name in action.option_strings
        if isinstance(action, argparse.BooleanOptionalAction) and name.startswith("--no-")
    ]
    names = [name for name in action.option_strings if name not in negated]
    unreachable = [name for name in names if real.flexible and name.startswith("--") and "_" in name]
    if unreachable:
        raise SystemExit(f"{unreachable}: the parser turns '_' into '-', so these names are never matched")
    entry: dict[str, Any] = {"names": sorted(names, key=lambda name: not name.startswith("--"))}
    if negated:
        entry["negated"] = negated
    entry["values"] = _values(action)
    if entry["values"] != 0:
        entry |= _value(action)
    if isinstance(action, argparse._AppendAction):
        entry["repeatable"] = True
    if action.required:
        entry["required"] = True
    if deprecated := _deprecated(action, real.parser):
        entry["deprecated"] = deprecated
    return entry


def as_text(schema: dict[str, Any]) -> str:
    """The schema as JSON with an option on each line, so that a new version's difference can be read."""
    lines = [f"  {json.dumps(key)}: {json.dumps(value)}," for key, value in schema.items() if key != "options"]
    options = ",\n".join(f"    {json.dumps(entry)}" for entry in schema["options"])
    return "\n".join(["{", *lines, '  "options": [', options, "  ]", "}", ""])


def _values(action: argparse.Action) -> int | str:
    return 1 if action.nargs is None else action.nargs


def _value(action: argparse.Action) -> dict[str, Any]:
    """Type and bounds of a value."""
    function, optional = _unwrapped(action.type)
    kind = _kind(function)
    entry: dict[str, Any] = {"type": kind}
    if optional:
        entry["optional"] = True
    if kind == "size" and _accepts(function, "auto"):
        entry["words"] = ["auto"]
    if kind == "str" and function is not None and function("A-b") == "a_b":
        entry["folded"] = True
    if action.choices is not None:
        entry["choices"] = sorted(
            (choice for choice in action.choices if choice is not None), key=lambda choice: (str(type(choice)), choice)
        )
    if keys := _keys(function):
        entry["keys"] = keys
    return entry


def _unwrapped(function: Any) -> tuple[Callable[[str], Any] | None, bool]:
    """The function inside vLLM's `optional_type` and `parse_type`, and whether "" and "None" mean None."""
    optional = False
    while getattr(function, "__name__", "") in ("_optional_type", "_parse_type"):
        optional = optional or function.__name__ == "_optional_type"
        function = dict(zip(function.__code__.co_freevars, function.__closure__, strict=True))[
            "return_type"
        ].cell_contents
    return function, optional


def _kind(function: Callable[[str], Any] | None) -> str:
    if function is None:
        return "str"
    name = getattr(function, "__name__", repr(function))
    if name == "<lambda>" and _accepts(function, "any text, even this"):
        return "str"
    if name not in KINDS:
        raise SystemExit(f"type function '{name}' is not known: look at it and add it to KINDS")
    return KINDS[name]


def _keys(function: Any) -> list[str]:
    """Keys a JSON object may have, where the engine refuses others: those of a dataclass, or of a table."""
    name = getattr(function, "__name__", "")
    if name == "parse_cuda_graph_config_arg":
        return sorted(function.__globals__["ALLOWED_KEYS_PER_PHASE"])
    if name != "parse_dataclass":
        return []
    try:
        function('{"barewind-probe": 0}')
    except argparse.ArgumentTypeError as error:
        if "unexpected_keyword_argument" in str(error):
            return sorted(field.name for field in dataclasses.fields(function.__defaults__[0]) if field.init)
    return []


def _accepts(function: Callable[[str], Any] | None, value: str) -> bool:
    try:
        if function is not None:
            function(value)
    except (ValueError, argparse.ArgumentTypeError):
        return False
    return True


def _suffixes(function: Callable[[str], Any], number: str) -> list[str]:
    return [suffix for suffix in SUFFIXES if _accepts(function, number + suffix)]


def _deprecated(action: argparse.Action, parser: argparse.ArgumentParser) -> str:
    """The parser's own words about a deprecated option, "" for others."""
    text = " ".join((action.help or "").split()).removesuffix(" (default: %(default)s)")
    marked = getattr(action, "deprecated", False) or action in getattr(parser, "_deprecated", ())
    if marked or type(action).__name__.startswith("Deprecated") or re.match(r"\W*deprecated\b", text, re.IGNORECASE):
        return text or "deprecated"
    return ""


if __name__ == "__main__":
    main()
