"""The engines' own parsers, asked once for everything the tests want to know.

The environment is the one of `make schema`: made on the first run (PyPI and PyTorch's index must be reachable), then kept.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.conformance import agreement, generated, matrix
from tests.conformance.case import Answers, Case
from tools import schema


@pytest.fixture(scope="session")
def answers() -> Answers:
    """What the real parsers say to every case, by the case's id: one process per engine."""
    python = schema.environment()
    cases = [*matrix.planned(), *agreement.CASES, *agreement.STRICTER, *generated.cases()]

    def ask(engine: str) -> Answers:
        asked = [case for case in cases if case.engine == engine]
        return dict(zip((case.id for case in asked), _ask(str(python), asked), strict=True))

    with ThreadPoolExecutor() as pool:
        found = {id_: answer for part in pool.map(ask, schema.ENGINES) for id_, answer in part.items()}
    assert len(found) == len(cases), "two cases have the same id"
    return found


def _ask(python: str, cases: Sequence[Case]) -> list[dict[str, Any]]:
    questions = json.dumps([{"engine": case.engine, "argv": case.argv} for case in cases])
    output = schema.run([python, str(schema.ROOT / "tools" / "parse_argv.py")], text=questions)
    answers: list[dict[str, Any]] = json.loads(output)
    return answers
