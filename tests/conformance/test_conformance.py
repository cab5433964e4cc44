"""Barewind's knowledge of the engines' command lines against the engines' own parsers."""

from __future__ import annotations

import pytest

from barewind.engines import options
from tests.conformance import agreement, generated, matrix
from tests.conformance.case import Answers, Case
from tools import schema

pytestmark = pytest.mark.conformance


def _ids(cases: list[Case]) -> list[str]:
    return [case.id for case in cases]


@pytest.mark.parametrize("case", matrix.planned(), ids=_ids(matrix.planned()))
def test_a_planned_command_is_taken(case: Case, answers: Answers) -> None:
    answer = answers[case.id]
    assert answer["error"] is None
    assert answer["later"] is None
    assert options.check(options.load(case.engine), case.argv) == []


@pytest.mark.parametrize("case", agreement.CASES, ids=_ids(agreement.CASES))
def test_check_agrees_with_the_parser(case: Case, answers: Answers) -> None:
    _agree(case, answers)


def test_check_agrees_with_the_parser_on_every_option(answers: Answers) -> None:
    for case in generated.cases():
        _agree(case, answers)


@pytest.mark.parametrize("case", agreement.STRICTER, ids=_ids(agreement.STRICTER))
def test_check_refuses_what_the_parser_takes_in_silence(case: Case, answers: Answers) -> None:
    assert answers[case.id]["error"] is None
    assert options.check(options.load(case.engine), case.argv)


def test_vllm_reads_enable_mm_as_another_option(answers: Answers) -> None:
    assert "enable_mm_embeds" in answers["stricter-vllm-m --enable-mm"]["given"]


@pytest.mark.parametrize("engine", schema.ENGINES)
def test_the_catalog_is_what_the_parser_says(engine: str) -> None:
    known = options.load(engine)
    recorded = schema.OPTIONS / f"{engine}-{known.version}.json"
    assert schema.extract(schema.environment(), engine) == recorded.read_text(), "run `make schema`"


def _agree(case: Case, answers: Answers) -> None:
    error = answers[case.id]["error"]
    problems = options.check(options.load(case.engine), case.argv)
    assert bool(problems) == bool(error), f"{case.argv}: the engine says {error!r}, check says {problems}"
