"""Facts of a balancer: its keys, and what sums their usage."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyinfra.api.exceptions import FactProcessError

from barewind.keys.facts import KnownKeys, UsageProgram
from tests.support.data_files import fact_tests

pytestmark = pytest.mark.filterwarnings("ignore:No command set for test")

TestKnownKeys = fact_tests(KnownKeys, Path(__file__).parent)
TestUsageProgram = fact_tests(UsageProgram, Path(__file__).parent)


@pytest.mark.parametrize("lines", [[], ["@@keys:file 600 root root"], ["socat: no such file"]])
def test_what_breaks_off_on_the_host_is_no_answer(lines: list[str]) -> None:
    with pytest.raises(FactProcessError, match="cannot be read"):
        KnownKeys().process(["@@barewind:keys", *lines, "@@barewind:end"])
