"""Recorded options of an engine (barewind/catalog/options/) as an argparse parser of its own."""

import argparse
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

Json = dict[str, Any]
Convert = Callable[[str], Any]

CATALOG = Path(__file__).parents[2] / "barewind" / "catalog" / "options"


def in_image(file: str) -> Path:
    """Where the image has a file of recorded options: beside this module."""
    return Path(__file__).with_name(file)


def recorded(file: str) -> Json:
    """The recorded options of a file: "vllm-0.32.0.json"."""
    path = in_image(file)
    options: Json = json.loads((path if path.exists() else CATALOG / file).read_text())
    return options


def fill(
    parser: argparse.ArgumentParser, recorded: Json, readers: Mapping[str, Convert], dropped: Sequence[str] = ()
) -> None:
    """Add recorded arguments and options to a parser.

    + readers: the engine's own readers of values: of "size" and "size or auto", numbers with suffixes, and of single options
    + dropped: options to leave out; they are as if they were not given
    """
    for positional in recorded["positionals"]:
        parser.add_argument(positional["name"], nargs=positional["values"])
    for option in recorded["options"]:
        if set(dropped) & set(option["names"]):
            parser.set_defaults(**{option["names"][0].lstrip("-").replace("-", "_"): None})
        elif "--help" not in option["names"]:
            _add(parser, option, readers)


def _add(parser: argparse.ArgumentParser, option: Json, readers: Mapping[str, Convert]) -> None:
    values, optional = option["values"], option.get("optional", False)
    if values == 0:
        negated = bool(option.get("negated"))
        parser.add_argument(*option["names"], action=argparse.BooleanOptionalAction if negated else "store_true")
        return
    choices = [*option.get("choices", ()), *([None] if optional else [])] if option.get("choices") else None
    settings: Json = {"type": _converter(option, readers), "choices": choices}
    if values != 1:
        settings["nargs"] = values
    if option.get("repeatable"):
        settings["action"] = "append"
    if option.get("required"):
        settings["required"] = True
    parser.add_argument(*option["names"], **settings)


def _converter(option: Json, readers: Mapping[str, Convert]) -> Convert:
    simple: dict[str, Convert] = {"str": str, "int": int, "float": float, "json": json.loads}
    kind, optional = option.get("type", "str"), option.get("optional", False)
    if own := readers.get(option["names"][0]):
        convert = own
    elif kind == "object":
        convert = _object(option)
    elif kind == "size":
        convert = readers["size or auto" if "auto" in option.get("words", ()) else "size"]
    elif kind == "text-or-object":
        convert = _text_or_object
    else:
        convert = simple[kind]
    if option.get("folded"):
        return lambda text: text.lower().replace("-", "_")
    return _optional(convert) if optional and kind != "object" else convert


def _optional(convert: Convert) -> Convert:
    def optional(text: str) -> Any:
        if text in ("", "None"):
            return None
        try:
            return convert(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"Value {text} cannot be converted to {convert}.") from error

    return optional


def _text_or_object(text: str) -> Any:
    if not re.fullmatch(r"\s*{.*}\s*", text, re.DOTALL):
        return text
    try:
        return json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"Value {text} cannot be converted to {json.loads}.") from error


def _object(option: Json) -> Convert:
    title = "".join(part.title() for part in option["names"][0].strip("-").split("-"))

    def refuse(finding: str) -> NoReturn:
        raise argparse.ArgumentTypeError(f"1 validation error for {title}\n{finding}")

    def convert(text: str) -> Any:
        if option.get("optional") and text in ("", "None"):
            return None
        try:
            value = json.loads(text)
        except ValueError as error:
            refuse(f"  Invalid JSON: {error} [type=json_invalid, input_value={text!r}, input_type=str]")
        if not isinstance(value, dict):
            refuse(f"  Input should be an object [type=dataclass_type, input_value={value!r}]")
        for key, entry in value.items():
            if option.get("keys") and key not in option["keys"]:
                kind = f"input_value={entry!r}, input_type={type(entry).__name__}"
                refuse(f"{key}\n  Unexpected keyword argument [type=unexpected_keyword_argument, {kind}]")
        return value

    return convert
