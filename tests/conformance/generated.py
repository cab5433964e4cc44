"""For every option of every engine: a fitting value, a wrong one, none, one too many, and the negated form."""

from __future__ import annotations

from collections.abc import Iterator

from barewind.engines import options
from tests.conformance.case import Case

BEGINNING = {"vllm": ["m"], "sglang": ["--model-path", "m"]}
ACTS_WHILE_PARSING = {"--help", "--config", "--model", "--model-path", "--lora-modules", "--lora-paths"}
RIGHT = {"int": "16", "float": "0.5", "size": "16k", "json": "{}", "object": "{}", "str": "x", "text-or-object": "x"}
WRONG = {"int": "1.5", "float": "x", "size": "16x", "json": "{x}", "object": "[]", "text-or-object": "{x}"}


def cases() -> list[Case]:
    """All of them."""
    return [
        Case(f"option-{engine}-{' '.join(argv)}", engine, [*BEGINNING[engine], *argv])
        for engine in BEGINNING
        for flag in options.load(engine).options
        if not ACTS_WHILE_PARSING & set(flag.names)
        for argv in _of(flag)
    ]


def _of(flag: options.Flag) -> Iterator[list[str]]:
    name = flag.names[0]
    yield [name]
    for negated in flag.negated:
        yield [negated]
        yield [f"{negated}=x"]
    right = str(flag.choices[0]) if flag.choices else RIGHT[flag.type]
    yield [name, right]
    yield [name, right, right]
    yield [f"{name}={right}"]
    wrong = "none-such" if flag.choices else WRONG.get(flag.type)
    if wrong and flag.values != 0:
        yield [name, wrong]
        yield [name, right, wrong]
    if flag.takes_json:
        yield [name, '{"barewind-probe": 0}']
        yield [f"{name}.barewind-probe", "0"]
