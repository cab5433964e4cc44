"""The stand-in engine's command lines against the engines' own parsers: the same is refused, for the same reason."""

from __future__ import annotations

import argparse
import contextlib
import io
import re
from functools import cache
from typing import Any

import pytest

from lab.standin import sglang
from lab.standin.vllm import arguments
from tests.conformance import agreement, generated, matrix
from tests.conformance.case import Answers

pytestmark = pytest.mark.conformance

CASES = [*matrix.planned(), *agreement.CASES, *agreement.STRICTER, *generated.cases()]
LAX = "14k}"  # numbers with suffixes inside JSON, which vLLM's JSON parser takes and Python's does not


class _Below:
    """Has the parser stand alone, as in the recorded answers."""

    def add_parser(self, name: str, **options: Any) -> argparse.ArgumentParser:
        return argparse.ArgumentParser(prog=f"vllm {name}", **options)


def _plain(text: str | None) -> str | None:
    """Without what pydantic adds, addresses in memory, the order of choices, and the two ways to say that JSON is wrong."""
    if text is None:
        return None
    first = re.sub(r" at 0x[0-9a-f]+", "", text.split("\n")[0])
    first = re.sub(r"Value .* cannot be converted to <function loads>\.|invalid loads value: .*", "no JSON", first)
    choices = ", ".join(sorted(re.findall(r"'[^']*'|None|\d+", first.partition("choose from")[2])))
    return re.sub(r"error for \w+", "error", first.partition("choose from")[0]) + choices


@cache
def _serve() -> argparse.ArgumentParser:
    return arguments.add_serve(_Below())


def _vllm(argv: list[str]) -> None:
    _serve().parse_args(arguments.rewrite(["serve", *argv])[1:])


def _sglang(argv: list[str]) -> None:
    sglang.arguments.parser("0").parse_args(argv)


PARSERS = {"vllm": _vllm, "sglang": _sglang}


@pytest.mark.parametrize("engine", PARSERS)
def test_the_standin_refuses_what_the_engine_refuses_in_its_words(engine: str, answers: Answers) -> None:
    for case in CASES:
        if case.engine != engine or any(LAX in word for word in case.argv):
            continue
        said = io.StringIO()
        error: str | None = None
        try:
            with contextlib.redirect_stderr(said):
                PARSERS[engine](case.argv)
        except SystemExit:
            error = said.getvalue().rpartition("error: ")[2].strip()
        except IndexError as raised:
            error = f"IndexError: {raised}"
        assert _plain(error) == _plain(answers[case.id]["error"]), case.argv
