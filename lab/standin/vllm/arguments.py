"""vLLM's command line: the recorded options, and how vLLM rewrites the words before argparse reads them.

It is as lenient as the engine's parser: abbreviations, underscores, nested keys (`--flag.key value`), `-O3`.
"""

import argparse
import json
import re
from collections.abc import Sequence
from functools import cache
from typing import Any, Protocol

from lab.standin import options

Json = dict[str, Any]

OTHERS = ("chat", "complete", "launch", "bench", "collect-env", "download-kernels", "preload", "run-batch", "snapshot")
SHOWN = (*OTHERS[:2], "serve", *OTHERS[2:])
FILE = "vllm-0.32.0.json"


class _HasParsers(Protocol):
    def add_parser(self, name: str, **options: Any) -> argparse.ArgumentParser: ...


def parse(words: Sequence[str], version: str, dropped: Sequence[str] = ()) -> argparse.Namespace:
    """Options of `vllm WORDS`; exits with status 2 and argparse's message if vLLM would refuse them.

    + dropped: recorded options that this build does not know any more: "--enforce-eager"
    """
    top = _parser(version, tuple(dropped))
    if words[:1] and words[0] in OTHERS:
        top.error(f"the stand-in only serves; it has no `vllm {words[0]}`")
    given = top.parse_args(rewrite(words))
    if given.subparser is None:
        top.print_help()
        top.exit()
    return given


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
    parser = below.add_parser("serve", usage="vllm serve [model_tag] [options]")
    sizes = {"size": human_readable_int, "size or auto": human_readable_int_or_auto}
    options.fill(parser, options.recorded(FILE), sizes, dropped)
    return parser


def rewrite(words: Sequence[str]) -> list[str]:
    """The words as vLLM passes them to argparse: model first, dashes in names, nested keys joined into JSON."""
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
            value = plain[at]  # an IndexError if there is none, as in vLLM
            at += 1
        flag, *keys = name.removesuffix("+").split(".")
        _merge(nested.setdefault(flag, {}), keys, value.split(",") if name.endswith("+") else _value(value))
    for flag, keys_of_flag in nested.items():
        kept += [flag, json.dumps(keys_of_flag)]
    return kept


def human_readable_int(text: str) -> int:
    """An integer with a suffix: 64k is 64000, 64K is 65536."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kKmMgGtT])", text.strip())
    if not match:
        return int(text)
    power = "kmgt".index(match[2].lower()) + 1
    if match[2].islower():
        return int(float(match[1]) * 10 ** (3 * power))
    if "." in match[1]:
        raise argparse.ArgumentTypeError(
            f"Decimals are not allowed with binary suffixes like {match[2]}. "
            f"Did you mean to use {match[1]}{match[2].lower()} instead?"
        )
    return int(match[1]) << (10 * power)


def human_readable_int_or_auto(text: str) -> int:
    """An integer with a suffix; "auto" is -1."""
    return -1 if text.strip().lower() == "auto" else human_readable_int(text)


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
    rewritten: list[str] = []
    for at, word in enumerate(words):
        if word.startswith("-O") and word != "-O":
            rewritten += ["--optimization-level", word[2:].removeprefix("=")]
        elif word == "-O" and words[at + 1 : at + 2] and words[at + 1] in ("0", "1", "2", "3"):
            rewritten.append("--optimization-level")
        else:
            rewritten.append(word)
    return rewritten


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
