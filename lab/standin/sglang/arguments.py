"""SGLang's command line: `python3 -m sglang.launch_server OPTIONS`, as its argparse parser has them."""

import argparse
import json
import re
from collections.abc import Sequence
from decimal import Decimal
from functools import cache
from typing import Any

from lab.standin import options

FILE = "sglang-0.5.23.json"
LISTS = (
    "--decoupled-spec-connect-endpoints",
    "--forward-hooks",
    "--remote-instance-weight-loader-send-weights-group-ports",
    "--sidecar-args",
)
SIZES = {"k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


def parse(words: Sequence[str], version: str, dropped: Sequence[str] = ()) -> argparse.Namespace:
    """Options of the server; exits with status 2 and argparse's message if SGLang would refuse them.

    + dropped: recorded options that this build does not know any more: "--enable-metrics"
    """
    return parser(version, tuple(dropped)).parse_args(words)


@cache
def parser(version: str, dropped: tuple[str, ...] = ()) -> argparse.ArgumentParser:
    """The parser, without some of its options."""
    server = argparse.ArgumentParser(prog="sglang serve", description=f"SGLang {version} (stand-in)")
    lists = dict.fromkeys(LISTS, json_list_type)
    readers = {"size": human_readable_int, "--cuda-graph-config": cuda_graph_config, **lists}
    options.fill(server, options.recorded(FILE), readers, dropped)
    return server


def human_readable_int(text: str) -> int:
    """An integer with a suffix: 64k is 64000, 64Ki is 65536."""
    text = text.strip()
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT]i|[kMGT])", text)
    if not match:
        return _whole(text)
    number, suffix = match.groups()
    if suffix.endswith("i") and "." in number:
        raise argparse.ArgumentTypeError(
            f"Decimals are not allowed with IEC suffixes like '{suffix}'. "
            f"Use an integer IEC value such as '{int(Decimal(number))}{suffix}', "
            f"or an SI value such as '{number}{suffix[0]}'."
        )
    return int(Decimal(number) * SIZES[suffix])


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"Invalid integer value: '{text}'. Use a plain integer, SI suffixes (1k, 1M), or IEC suffixes (1Ki, 1Mi). "
            "Suffixes are case-sensitive."
        ) from None


def json_list_type(text: str) -> Any:
    """A list as JSON; SGLang takes any JSON for one."""
    try:
        return json.loads(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"Invalid JSON list: {text}. Please provide a valid JSON list.") from None


def cuda_graph_config(text: str) -> Any:
    """Settings of CUDA graphs by phase."""
    name, phases = "--cuda-graph-config", ("decode", "prefill")
    value = json.loads(text)
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"{name} must be a JSON object, got {type(value).__name__}")
    for phase in value:
        if phase not in phases:
            raise argparse.ArgumentTypeError(f"{name}: unknown phase {phase!r}, expected one of {phases}")
    return value
