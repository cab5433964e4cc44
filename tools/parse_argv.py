"""Give argument lists to an engine's own parser: `parse_argv.py < cases.json`.

Reads a JSON list of {"engine": ..., "argv": [...]} and writes a JSON list in the same order, each with
+ error: what the parser refuses, None when it takes the list
+ later: what the engine refuses of a list that its parser took, still without a model
+ given: the settings that differ from their defaults, by name, as text
Runs inside the environment of tools/schema.py.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

import real_parsers


def main() -> None:
    """Judge every case; a parser's exit is an answer, not an end."""
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # engines print while they are imported: the answer alone goes to standard output
    parser = functools.cache(real_parsers.load)
    with answer:
        json.dump([judge(parser(case["engine"]), case["argv"]) for case in json.load(sys.stdin)], answer)


def judge(real: real_parsers.RealParser, argv: Sequence[str]) -> dict[str, Any]:
    """The real parser's verdict on an argument list."""
    output = io.StringIO()
    given: dict[str, str] = {}
    answer: dict[str, Any] = {"error": None, "later": None, "given": given}
    stage = "error"
    try:
        with contextlib.redirect_stderr(output), contextlib.redirect_stdout(output):
            namespace = real.parse(argv)
            default = real.parser.get_default
            given |= {name: str(value) for name, value in sorted(vars(namespace).items()) if value != default(name)}
            stage = "later"
            real.settle(namespace)
    except SystemExit as end:
        if end.code:
            answer[stage] = output.getvalue().rpartition("error: ")[2].strip() or f"exit {end.code}"
    except Exception as error:  # vLLM answers some bad input with a plain exception
        answer[stage] = f"{type(error).__name__}: {error}"
    return answer


if __name__ == "__main__":
    main()
