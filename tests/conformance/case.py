"""One argument list for one engine."""

from __future__ import annotations

from typing import NamedTuple


class Case(NamedTuple):
    """`argv` is what follows `vllm serve` or `python3 -m sglang.launch_server`."""

    id: str
    engine: str
    argv: list[str]
