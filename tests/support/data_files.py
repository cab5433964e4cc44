"""Tests of facts and operations as data files of a slice's folder, as pyinfra's own are.

`tests/unit/SLICE/facts/CLASS/*.json` hold what a host prints and what becomes of it,
`tests/unit/SLICE/operations/NAME/*.json` arguments, facts and the commands that follow.
What is the same for each fact and each operation is tested without a file.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from unittest import TestCase

import pytest
from pyinfra.api import OperationError
from pyinfra.api.exceptions import FactProcessError
from pyinfra_testing.facts import make_fact_tests
from pyinfra_testing.operations import make_operation_tests

from tests.support.operations import run

_BROKEN_OFF = (
    [],
    ["Welcome!"],
    ["@@barewind:os", "debian 12"],
    ["@@barewind:os", "@@barewind:en"],
)


def fact_tests(fact: type, folder: Path) -> type[TestCase]:
    """Tests of a fact from the files of its slice's folder, and that an answer that breaks off is no answer."""
    package, module = fact.__module__.rsplit(".", 1)
    tests = make_fact_tests(package, f"{module}.{fact.__name__}", folder / "facts" / fact.__name__)

    def test_an_answer_that_breaks_off_is_no_answer(self: TestCase) -> None:
        for output in _BROKEN_OFF:
            with self.subTest(output=output), pytest.raises(FactProcessError, match="breaks off"):
                fact().process(output)

    tests.test_an_answer_that_breaks_off_is_no_answer = test_an_answer_that_breaks_off_is_no_answer
    return tests


def operation_tests(operation: Any, folder: Path) -> type[TestCase]:
    """Tests of an operation from the files of its slice's folder."""
    function = operation._inner
    package, module = function.__module__.rsplit(".", 1)
    name = function.__name__
    return make_operation_tests(package, f"{module}.{name}", folder / "operations" / name)


def settled_tests(operation: Any, arguments: dict[str, Any], fact: str, value: Any, *, subject: str) -> type:
    """Tests of an operation on a host where nothing is left to do, as a fact's value says, and on one that cannot be read.

    `subject` is what the message for the latter names.
    """

    class Tests:
        def test_nothing_to_do_no_command(self) -> None:
            assert run(operation, arguments, fact, value) == []

        def test_what_cannot_be_read_is_not_changed(self) -> None:
            message = f"gpu-h1: the state of {subject} could not be read; see the error above, mend it"
            with pytest.raises(OperationError, match=f"^{re.escape(message)}"):
                run(operation, arguments, fact, None)

    return Tests
