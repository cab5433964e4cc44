"""One argument list for one engine, and what is made of many."""

from __future__ import annotations

from typing import Any, NamedTuple

Answers = dict[str, dict[str, Any]]  # case id -> what the real parser says


class Case(NamedTuple):
    """`argv` is what follows `vllm serve` or `python3 -m sglang.launch_server`."""

    id: str
    engine: str
    argv: list[str]
