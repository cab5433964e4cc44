"""vLLM's command line: the recorded options as an argparse parser, and what vLLM does to the words before it.

Where the engine's parser is lenient this one is: abbreviations, underscores, nested keys (`--flag.key value`), `-O3`.
"""

import argparse
import json
import re
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NoReturn, Protocol

Json = dict[str, Any]
Convert = Callable[[str], Any]

OTHERS = ("chat", "complete", "launch", "bench", "collect-env", "download-kernels", "preload", "run-batch", "snapshot")
SHOWN = (*OTHERS[:2], "serve", *OTHERS[2:])
IN_IMAGE = Path(__file__).with_name("flags.json")
IN_REPOSITORY = Path(__file__).parents[2] / "barewind" / "catalog" / "flags" / "vllm-0.32.0.json"


class _HasParsers(Protocol):
    def add_parser(self, name: str, **options: Any) -> argparse.ArgumentParser: ...


def schema() -> Json:
    """The recorded options: laid beside this file in the image, part of the catalog in the repository."""
    found: Json = json.loads((IN_IMAGE if IN_IMAGE.exists() else IN_REPOSITORY).read_text())
    return found


def parse(words: Sequence[str], version: str, dropped: Sequence[str] = ()) -> argparse.Namespace:
    """What `vllm WORDS` means; ends with status 2 and argparse's words when vLLM would refuse it.

    + dropped: recorded options that this build does not know any more: "--enforce-eager"
    """
    top = _parser(version, tuple(dropped))
    if words[:1] and words[0] in OTHERS:
        top.error(f"the stand-in only serves; it has no `vllm {words[0]}`")
    found = top.parse_args(rewrite(words))
    if found.subparser is None:
        top.print_help()
        top.exit()
    return found


@cache
def _parser(version: str, dropped: tuple[str, ...]) -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="vllm", description="vLLM CLI (stand-in)")
    top.add_argument("-v", "--version", action="version", version=version)
    below = top.add_subparsers(required=False, dest="subparser", metavar=f"{{{','.join(SHOWN)}}}")
    add_serve(below, dropped)
    for name in OTHERS:
        below.add_parser(name, add_help=False)
    return top


def add_serve(
    below: "_HasParsers | argparse._SubParsersAction[argparse.ArgumentParser]", dropped: Sequence[str] = ()
) -> argparse.ArgumentParser:
    """The parser of `vllm serve`, without some of its options."""
    recorded = schema()
    parser = below.add_parser("serve", usage="vllm serve [model_tag] [options]")
    for positional in recorded["positionals"]:
        parser.add_argument(positional["name"], nargs=positional["values"])
    for option in recorded["options"]:
        if not {"--help", *dropped} & set(option["names"]):
            _add(parser, option)
    return parser


def rewrite(words: Sequence[str]) -> list[str]:
    """The words as vLLM gives them to argparse: model first, dashes in names, nested keys joined into JSON."""
    plain = [_dashed(word) for word in _model_first(list(words))]
    plain = _optimization_level(plain)
    kept: list[str] = []
    nested: dict[str, Json] = {}
    at = 0
    while at < len(plain):
        word = plain[at]
        at += 1
        name, equals, value = word.partition("=")
        if not word.startswith("-") or "." not in name:
            kept.append(word)
            continue
        if not equals:
            value = plain[at]  # an IndexError without one, as in vLLM
            at += 1
        flag, *keys = name.removesuffix("+").split(".")
        _merge(nested.setdefault(flag, {}), keys, value.split(",") if name.endswith("+") else _value(value))
    for flag, found in nested.items():
        kept += [flag, json.dumps(found)]
    return kept


def _model_first(words: list[str]) -> list[str]:
    for at, word in enumerate(words):
        if words[0] == "serve" and re.match(r"--model(=|$)", word):
            value, end = (words[at + 1], at + 2) if word == "--model" else (word.removeprefix("--model="), at + 1)
            return ["serve", value, *words[1:at], *words[end:]]
    return words


def _dashed(word: str) -> str:
    if not word.startswith("--"):
        return word
    name, equals, value = word.partition("=")
    first, point, rest = name.partition(".")
    return first.replace("_", "-") + point + rest + equals + value


def _optimization_level(words: list[str]) -> list[str]:
    found: list[str] = []
    for at, word in enumerate(words):
        if word.startswith("-O") and word != "-O":
            found += ["--optimization-level", word[2:].removeprefix("=")]
        elif word == "-O" and words[at + 1 : at + 2] and words[at + 1] in ("0", "1", "2", "3"):
            found.append("--optimization-level")
        else:
            found.append(word)
    return found


def _value(text: str) -> Any:
    for convert in (json.loads, human_readable_int):
        try:
            return convert(text)
        except (ValueError, argparse.ArgumentTypeError):
            continue
    return text


def _merge(into: Json, keys: list[str], value: Any) -> None:
    *path, last = keys
    for key in path:
        into = into.setdefault(key, {})
    into[last] = value


def _add(parser: argparse.ArgumentParser, option: Json) -> None:
    values, optional = option["values"], option.get("optional", False)
    if values == 0:
        negated = bool(option.get("negated"))
        parser.add_argument(*option["names"], action=argparse.BooleanOptionalAction if negated else "store_true")
        return
    choices = [*option.get("choices", ()), *([None] if optional else [])] if option.get("choices") else None
    settings: Json = {"type": _converter(option), "choices": choices}
    if values != 1:
        settings["nargs"] = values
    if option.get("repeatable"):
        settings["action"] = "append"
    parser.add_argument(*option["names"], **settings)


def _converter(option: Json) -> Convert:
    simple: dict[str, Convert] = {"str": str, "int": int, "float": float, "json": json.loads}
    kind, optional = option.get("type", "str"), option.get("optional", False)
    if kind == "object":
        convert = _object(option)
    elif kind == "size":
        convert = human_readable_int_or_auto if "auto" in option.get("words", ()) else human_readable_int
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


def human_readable_int(text: str) -> int:
    """64k is 64000, 64K is 65536."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([kKmMgGtT])", text.strip())
    if not found:
        return int(text)
    power = "kmgt".index(found[2].lower()) + 1
    if found[2].islower():
        return int(float(found[1]) * 10 ** (3 * power))
    if "." in found[1]:
        raise argparse.ArgumentTypeError(
            f"Decimals are not allowed with binary suffixes like {found[2]}. "
            f"Did you mean to use {found[1]}{found[2].lower()} instead?"
        )
    return int(found[1]) << (10 * power)


def human_readable_int_or_auto(text: str) -> int:
    """The same; "auto" is -1."""
    return -1 if text.strip().lower() == "auto" else human_readable_int(text)


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
            found = json.loads(text)
        except ValueError as error:
            refuse(f"  Invalid JSON: {error} [type=json_invalid, input_value={text!r}, input_type=str]")
        if not isinstance(found, dict):
            refuse(f"  Input should be an object [type=dataclass_type, input_value={found!r}]")
        for key, value in found.items():
            if option.get("keys") and key not in option["keys"]:
                kind = f"input_value={value!r}, input_type={type(value).__name__}"
                refuse(f"{key}\n  Unexpected keyword argument [type=unexpected_keyword_argument, {kind}]")
        return found

    return convert
